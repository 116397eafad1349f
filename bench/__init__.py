"""Every performance claim, one command each, beside its peer in the same run."""
