"""One file a data set; `pkgutil` lists them for the --dataset flag."""
