"""Judging everything in a large place: a plan of numbered shards, a Parquet part a shard, resumable at any moment."""
