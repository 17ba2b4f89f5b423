"""Facts on the machine and the tools, without which figures say little."""

from common.machine import file_system, first_line, hardware, origin

VERSIONS = {"cp": ["--version"], "rsync": ["--version"], "cpz": ["--version"],
            "xcp": ["--version"], "rclone": ["version"]}


def facts(bench, options, data):
    """Yields lines for the end of a report."""
    yield from hardware()
    yield (f"sources and the record of runs on {file_system(data[0].root)}; "
           f"copies on {bench.place.description}")
    for tool in bench.tools:
        name = tool.name
        yield f"{name}: {first_line([tool.program, *VERSIONS.get(name, ['--version'])])}"
    yield f"b3sum: {first_line([bench.b3sum, '--version'])}"
    yield origin(options.binary)
    yield f"load of the machine before the first run: {bench.load:.2f}"
