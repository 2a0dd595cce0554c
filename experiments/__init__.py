"""The experiments of the papers, each as methods for a study and a report of what came out."""
