"""What every part may use: command line, files, settings; nothing of arms."""
