#!/usr/bin/env bash
# Judges the pictures that differ from SLEUTH_BASE; action.yml calls it, in the checked-out repository.
#
# Everything comes through the environment: SLEUTH_COMMAND, SLEUTH_FAIL_ON, SLEUTH_BASE, SLEUTH_PROGRAM (a Python with
# PixelSleuth), SLEUTH_FOLDER (for what it writes), GITHUB_OUTPUT, GITHUB_STEP_SUMMARY. File names are bytes of a
# stranger: they travel as a list separated by NUL, and never as words of a command.
set -euo pipefail

stop() {
  printf '::error::%s\n' "$1"
  exit 2
}

case "$SLEUTH_COMMAND" in check | inspect) ;; *) stop 'The input command is neither check nor inspect.' ;; esac
[[ $SLEUTH_FAIL_ON =~ ^[a-z_,\ ]*$ ]] || stop 'The input fail-on holds more than names and commas.'
[[ $SLEUTH_BASE =~ ^[0-9a-f]{40}([0-9a-f]{24})?$ ]] || stop 'The input base is no full commit hash; name one.'

if [[ $SLEUTH_BASE =~ ^0+$ ]]; then # a new branch: every picture of it
  range=("$(git hash-object -t tree /dev/null)" HEAD)
elif git cat-file -e "$SLEUTH_BASE^{commit}" 2>/dev/null; then
  range=("$SLEUTH_BASE...HEAD")
else
  stop 'The commit of the input base is not here; check out with fetch-depth: 0.'
fi

patterns=()
for suffix in jpg jpeg jpe jfif mpo png webp tif tiff gif bmp avif; do
  patterns+=(":(icase,glob)**/*.$suffix")
done

rm -rf -- "$SLEUTH_FOLDER"
mkdir -p -- "$SLEUTH_FOLDER"
changed="$RUNNER_TEMP/pixelsleuth-changed" list="$RUNNER_TEMP/pixelsleuth-pictures"
git diff --no-ext-diff --no-renames --name-only -z --diff-filter=AMT "${range[@]}" -- "${patterns[@]}" >"$changed"
: >"$list"
count=0
while IFS= read -r -d '' name; do
  if [[ -f ./$name && ! -L ./$name ]]; then # neither a link nor a submodule
    printf './%s\0' "$name" >>"$list"
    count=$((count + 1))
  fi
done <"$changed"
printf 'pictures=%d\nfolder=%s\n' "$count" "$SLEUTH_FOLDER" >>"$GITHUB_OUTPUT"

status=0
if [[ $count -gt 0 ]]; then
  options=(--report "$SLEUTH_FOLDER/report.html")
  if [[ -n $SLEUTH_FAIL_ON ]]; then options+=(--fail-on "$SLEUTH_FAIL_ON"); fi
  # A name that is printed must not be read as a command of the runner.
  token="$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
  printf '::stop-commands::%s\n' "$token"
  # -P: modules come from where they are installed, not from the repository, which is a stranger's too.
  HF_HUB_OFFLINE=1 "$SLEUTH_PROGRAM" -P -m pixelsleuth "$SLEUTH_COMMAND" - --format jsonl "${options[@]}" \
    <"$list" >"$SLEUTH_FOLDER/records.jsonl" || status=$?
  printf '::%s::\n' "$token"
fi
printf 'status=%d\n' "$status" >>"$GITHUB_OUTPUT"
"$SLEUTH_PROGRAM" -P "${BASH_SOURCE[0]%/*}/summary.py" "$SLEUTH_FOLDER" | tee -a "$GITHUB_STEP_SUMMARY" >"$SLEUTH_FOLDER/summary.md"

case $status in
  0) ;;
  1) printf '::warning::Some pictures could not be read; the summary of the job names them.\n' ;;
  3) stop 'A picture is what fail-on names; the summary of the job names it.' ;;
  *) stop "PixelSleuth ended with status $status." ;;
esac
