"""What a training run shows and keeps: tables, learning curves, the best snapshot."""
