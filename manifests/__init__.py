"""Small facts that listings refer to: label maps and class subsets. README.md says whence."""
