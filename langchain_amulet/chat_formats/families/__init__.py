"""One file for each model family, with what it decides; `registry` knows which there are."""
