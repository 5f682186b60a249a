"""gdb -x: runs the scenario that E2E_SCENARIO names, and says how it ended."""

import importlib.util
import os
import sys
import traceback

import gdb

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gdb_side  # noqa: E402


def load(path):
    spec = importlib.util.spec_from_file_location("scenario", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    try:
        gdb_side.write_transcript()
        scenario = load(os.environ["E2E_SCENARIO"])
        gdb_side.connect()
        scenario.run()
        print("\nscenario passed", flush=True)
        return 0
    except gdb_side.Skip as reason:
        print(f"\nscenario skipped: {reason}", flush=True)
        return 0
    except BaseException:
        print("\nscenario failed\n" + traceback.format_exc(), flush=True)
        return 1


gdb.execute(f"quit {main()}")
