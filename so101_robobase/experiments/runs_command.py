"""`so101_robobase runs ...`: the runs in a folder, one by one and side by side."""

SUBCOMMANDS = {
    "list": (
        "so101_robobase.experiments.list_command",
        "which runs there are and how far they are; `runs` alone does this",
    ),
    "show": (
        "so101_robobase.experiments.show_command",
        "one run: settings, evaluations, snapshots, versions",
    ),
    "compare": (
        "so101_robobase.experiments.compare_command",
        "what runs were given and what came of it, side by side",
    ),
    "clean": (
        "so101_robobase.experiments.clean_command",
        "remove old snapshots and leftovers; says what first",
    ),
}
DEFAULT = "list"
