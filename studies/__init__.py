"""Several runs side by side: methods times seeds, and the experiments of the papers on them."""
