"""`so101_robobase perception`: checks and figures of the whole way from camera to policy."""

SUBCOMMANDS = {  # name: (module, summary)
    "parity": (
        "so101_robobase.perception.parity_command",
        "compare what the networks see with what the simulator knows",
    ),
    "benchmark": (
        "so101_robobase.perception.benchmark_command",
        "latency of the networks on this machine",
    ),
    "export": (
        "so101_robobase.perception.export_command",
        "write a network as ONNX and check that it computes the same",
    ),
}
