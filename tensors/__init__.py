"""The ground floor: ids, rows, and sums of products on plain tensors; needs torch alone."""
