"""What the settings of a run may be, and whether anything reads them; knows nothing heavy."""
