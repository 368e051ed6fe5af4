"""`so101_robobase segmentation`: data for, training of and pictures from the segmentation model."""

SUBCOMMANDS = {  # name: (module, summary)
    "dataset": (
        "so101_robobase.perception.dataset_command",
        "render labelled wrist-camera pictures, or convert labelled real ones",
    ),
    "train": (
        "so101_robobase.perception.train_command",
        "train a segmentation model on labelled pictures",
    ),
    "evaluate": (
        "so101_robobase.perception.evaluate_command",
        "measure a network on labelled pictures",
    ),
    "infer": (
        "so101_robobase.perception.infer_command",
        "segment a picture, a folder, a video or a camera",
    ),
}
