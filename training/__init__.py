"""How the bundled `compact` weights are made: sharp photos in, a checkpoint out. Not part of the wheel."""
