"""The quick benchmarks, one file each."""
