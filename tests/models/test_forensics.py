"""SIDA as a transformers model, the task "image-forensics", and the model card; no network."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the extra vlm brings torch")
transformers = pytest.importorskip("transformers", reason="the extra vlm brings transformers")

from pixelsleuth.errors import PictureNotFound, UsageError  # noqa: E402
from pixelsleuth.models.forensics import DetectorForForensics, SidaForForensics  # noqa: E402
from pixelsleuth.models.model_card import Told, model_card  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(shared: Path) -> Path:
    return shared / "parity" / "sida"


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> SidaForForensics:
    return SidaForForensics.from_pretrained(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def saved(model: SidaForForensics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "my-sida"
    model.save_pretrained(folder, licence="cc-by-4.0", data=["saberzl/SID_Set"])
    return folder


@pytest.fixture(scope="module")
def pictures(checkpoint: Path) -> list[str]:
    """Tampered, real."""
    return [str(checkpoint / "images/2.png"), str(checkpoint / "images/0.png")]


class FakeHub:
    """What `push_to_hub` asks of huggingface_hub.HfApi; repositories are folders."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls = root, []

    def __call__(self, token: Any = None) -> FakeHub:
        self.calls.append(("token", token))
        return self

    def create_repo(self, repo_id: str, **options: Any) -> SimpleNamespace:
        self.calls.append(("create_repo", options))
        whole = repo_id if "/" in repo_id else f"me/{repo_id}"
        (self.root / whole).mkdir(parents=True, exist_ok=True)
        return SimpleNamespace(repo_id=whole)

    def file_exists(self, repo_id: str, name: str, **_: Any) -> bool:
        return (self.root / repo_id / name).is_file()

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, delete_patterns: list[str], **options: Any
    ) -> SimpleNamespace:
        self.calls.append(("upload_folder", options))
        for pattern in delete_patterns:
            for path in (self.root / repo_id).glob(pattern):
                path.unlink()
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)
        return SimpleNamespace(commit_url=f"https://hub.invalid/{repo_id}/commit/1")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.HfApi", fake)
    monkeypatch.setattr("huggingface_hub.is_offline_mode", lambda: False)
    return fake


def test_a_saved_model_comes_back_bit_by_bit(
    model: SidaForForensics, saved: Path, checkpoint: Path, pictures: list[str]
) -> None:
    again = transformers.AutoModel.from_pretrained(saved)
    assert type(again) is SidaForForensics
    assert again.config.to_dict()["sida"] == model.config.to_dict()["sida"]
    pixels = [model.detector._open(path).pixels for path in pictures]
    first, second = model(pixels), again(pixels)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.mask_logits[0], second.mask_logits[0])
    assert first.mask_logits[1] is second.mask_logits[1] is None
    golden = json.loads((checkpoint / "golden.json").read_text())["samples"]
    assert first.logits[0].tolist() == pytest.approx(golden[2]["class_logits"], abs=1e-4)


def test_a_saved_folder_holds_safetensors_and_a_card_and_serves_check_too(
    saved: Path, model: SidaForForensics, pictures: list[str]
) -> None:
    import pixelsleuth as ps

    names = {path.name for path in saved.iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.model", "added_tokens.json", "README.md"}
    verdict = ps.load(saved).check(pictures[1])
    assert verdict.probabilities == model.detector.check(pictures[1]).probabilities
    assert verdict.model["version"] == model.detector.version


def test_shards_of_an_earlier_save_do_not_outlive_the_next(model: SidaForForensics, tmp_path: Path) -> None:
    folder = tmp_path / "twice"
    model.save_pretrained(folder, max_shard_size="5MB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    model.save_pretrained(folder)
    assert [path.name for path in folder.glob("*.safetensors*")] == ["model.safetensors"]


def test_a_folder_with_other_files_is_left_alone(model: SidaForForensics, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(Exception, match="holds other files"):
        model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_weights_in_a_pickle_are_read_as_tensors_or_refused(
    saved: Path, pictures: list[str], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    folder = tmp_path / "bin"
    shutil.copytree(saved, folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    again = SidaForForensics.from_pretrained(folder)
    same = SidaForForensics.from_pretrained(saved)
    assert again.detector.check(pictures[1]).probabilities == same.detector.check(pictures[1]).probabilities

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save(tensors | {"trap": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(UsageError):
        SidaForForensics.from_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UsageError):
        SidaForForensics.from_pretrained(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"dtype": "float16"}, "torch.float32 or torch.bfloat16"),
        ({"precision": "fp8"}, "fp32, bf16"),
        ({"device_map": "balanced"}, "one device"),
        ({"dtyp": "float32"}, "does not know dtyp"),
    ],
)
def test_what_is_not_known_is_refused(checkpoint: Path, arguments: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        SidaForForensics.from_pretrained(checkpoint, **arguments)


def test_a_model_made_of_a_configuration_alone_cannot_be_run(saved: Path) -> None:
    bare = SidaForForensics(transformers.AutoConfig.from_pretrained(saved))
    with pytest.raises(UsageError, match="has no tokenizer"):
        bare([])


def test_pushing_uploads_one_commit_that_can_be_loaded(
    hub: FakeHub, model: SidaForForensics, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = hub.root / "me" / "my-sida" / "model-00001-of-00002.safetensors"
    stale.parent.mkdir(parents=True)
    stale.touch()
    address = model.push_to_hub("my-sida", private=True, token="secret", data="saberzl/SID_Set")
    assert address == "https://hub.invalid/me/my-sida/commit/1"
    assert [name for name, _ in hub.calls] == ["token", "create_repo", "upload_folder"]
    assert dict(hub.calls)["create_repo"] == {"private": True, "exist_ok": True}
    assert not stale.exists()
    asked: dict[str, Any] = {}

    def fetch(repository: str, allow_patterns: list[str], **options: Any) -> str:
        asked.update(options)
        return str(hub.root / repository)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    again = SidaForForensics.from_pretrained("me/my-sida", revision="v1", local_files_only=True)
    assert asked["revision"] == "v1"
    assert asked["local_files_only"] is True
    assert again.detector.check(pictures[1]).probabilities == model.detector.check(pictures[1]).probabilities
    card = (hub.root / "me/my-sida/README.md").read_text()
    assert 'model="me/my-sida"' in card


def test_a_card_that_somebody_wrote_stays(hub: FakeHub, model: SidaForForensics) -> None:
    card = hub.root / "me" / "sida" / "README.md"
    card.parent.mkdir(parents=True)
    card.write_text("Mine.")
    model.push_to_hub("me/sida")
    assert card.read_text() == "Mine."
    model.push_to_hub("me/sida", replace_card=True)
    assert "# sida" in card.read_text()


def test_nothing_is_uploaded_offline_and_nothing_fetched(
    hub: FakeHub, model: SidaForForensics, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.is_offline_mode", lambda: True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        model.push_to_hub("me/sida")
    assert not hub.calls
    with pytest.raises(UsageError, match="not in the cache"):
        SidaForForensics.from_pretrained("me/nowhere", cache_dir=tmp_path, local_files_only=True)


def test_the_pipeline_answers_in_the_forms_of_transformers(
    checkpoint: Path, saved: Path, pictures: list[str]
) -> None:
    of_published = transformers.pipeline("image-forensics", model=str(checkpoint), device=-1)
    judge = transformers.pipeline("image-forensics", model=str(saved), device=-1)
    answer = judge(pictures[0])
    assert answer["label"] == "tampered"
    assert answer["score"] == answer["scores"][0]["score"]
    assert sum(entry["score"] for entry in answer["scores"]) == pytest.approx(1)
    with Image.open(pictures[0]) as picture:
        assert answer["mask"].size == picture.size
    assert answer["mask"].mode == "L"
    assert set(answer["mask"].get_flattened_data()) == {0, 255}
    box = tuple(answer["boxes"][0]["box"].values())
    assert answer["mask"].crop(box).getbbox() == (0, 0, box[2] - box[0], box[3] - box[1])
    real = judge(pictures[1])
    assert of_published(pictures[1])["scores"] == real["scores"]
    assert (real["label"], real["mask"], real["boxes"]) == ("real", None, [])


def test_the_pipeline_takes_lists_generators_and_data_sets_in_batches(
    saved: Path, pictures: list[str]
) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra data brings datasets")
    judge = transformers.pipeline("image-forensics", model=str(saved), device=-1, batch_size=2)
    pictures = [pictures[1], pictures[1].replace("0.png", "1.png")]  # without a mask: SAM stays out
    one_by_one = [judge(path)["label"] for path in pictures]
    assert [answer["label"] for answer in judge(pictures)] == one_by_one
    assert [answer["label"] for answer in judge(Image.open(path) for path in pictures)] == one_by_one
    column = datasets.Dataset.from_dict({"image": pictures}).cast_column("image", datasets.Image())["image"]
    assert [answer["label"] for answer in judge(list(column))] == one_by_one


def test_the_pipeline_stays_offline_and_says_what_is_broken(
    saved: Path, pictures: list[str], tmp_path: Path
) -> None:
    judge = transformers.pipeline("image-forensics", model=str(saved), device=-1)
    with pytest.raises(PictureNotFound, match="stays offline"):
        judge("https://example.org/a.jpg")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(Exception, match=r"broken\.jpg"):
        judge([str(broken)])
    answers = judge([str(broken), pictures[1]], on_error="record")
    assert answers[0]["error"]["code"] == "corrupt_picture"
    assert answers[1]["label"] == "real"
    with pytest.raises(UsageError, match="did you mean explain"):
        judge(pictures[0], explian=True)


def test_any_detector_stands_behind_the_pipeline(pictures: list[str]) -> None:
    import pixelsleuth as ps

    judge = transformers.pipeline(
        "image-forensics", model=DetectorForForensics.from_pretrained("compact", "cpu")
    )
    answer = judge(pictures[0], explain=True)
    verdict = ps.load("compact", "cpu").check(pictures[0])
    assert answer["score"] == verdict.confidence
    assert answer["explanation"] == verdict.explanation
    assert "cpu" in repr(judge)


def metrics(**figures: float) -> dict[str, Any]:
    """As much of a metrics.json as a card reads."""
    table = {
        name: {"value": value, "low": value - 0.1, "high": value + 0.1} for name, value in figures.items()
    }
    return {
        "schema": "pixelsleuth.evaluation/1",
        "protocol": {"name": "sid_set", "equalised": True},
        "data": {"name": "sid", "split": "validation", "pictures": 1200, "groups": 1100},
        "environment": {"pixelsleuth": "0.1.0"},
        "models": [{"name": "sida", "conditions": {"clean": {"figures": table}}}],
    }


def test_the_card_states_what_was_measured_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps(metrics(auroc=0.75, pixel_f1=0.5, ece=0.2)))
    told = Told.of(
        {"name": "x", "licence": "MIT", "data": "a/b", "made": "LoRA of rank 8.", "limits": "Only faces."}
    )
    card = model_card(told, {"Parameters": "7"}, file, place="me/x")
    assert card.data.license == "mit"
    assert card.data.datasets == ["a/b"]
    assert {result.metric_type: result.metric_value for result in card.data.eval_results} == {
        "auroc": 0.75,
        "pixel_f1": 0.5,
    }
    assert "1,200 pictures of sid, split validation, 1,100 groups; protocol sid_set, equalised" in card.text
    assert "| AUROC, fake against real | 0.750 | 0.650 to 0.850 |" in card.text
    assert "* Only faces." in card.text
    bare = model_card(Told(), {}, place="x")
    assert "No figures were given" in bare.text
    assert "| Licence | not stated |" in bare.text
    assert bare.data.license is None


def test_a_card_refuses_figures_and_words_that_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    for path in (tmp_path / "other.json", tmp_path / "none.json"):
        with pytest.raises(UsageError, match=r"metrics\.json"):
            model_card(Told(), {}, path, place="x")
    with pytest.raises(UsageError, match="did you mean licence"):
        Told.of({"license": "MIT"})


@pytest.mark.thorough  # several models are loaded
def test_the_page_on_transformers_works(
    saved: Path, hub: FakeHub, pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "transformers.md"
    snippets = re.findall(
        r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(snippets) == 3
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "a.jpg", "b.png"):
        shutil.copy(pictures[1], name)
    Path("my-sida").symlink_to(saved)
    Path("runs/eval").mkdir(parents=True)
    Path("runs/eval/metrics.json").write_text(json.dumps(metrics(auroc=0.75)))
    for snippet in snippets:
        exec(compile(snippet, str(page), "exec"), {"__name__": "__page__"})
    card = (hub.root / "me" / "my-better-sida" / "README.md").read_text()
    assert card == Path("my-better-sida/README.md").read_text().replace(
        'model="my-better', 'model="me/my-better'
    ).replace("--model my-better", "--model me/my-better")
    assert "| AUROC, fake against real | 0.750 |" in card
