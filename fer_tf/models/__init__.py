"""One file a paper; `pkgutil` lists them for the contract tests and the benchmark."""
