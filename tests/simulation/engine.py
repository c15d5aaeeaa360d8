"""The simulation under node, for tools in Python."""
import json
import subprocess

from kit import processes, tool
from kit.errors import Failed
from kit.tree import BUILD, TESTS

HERE = TESTS / "simulation"


def node(program):
    """Run a module in node, next to those of the simulation, and return what it prints, from JSON."""
    tool.need("node", "deps-play")
    run = processes.start(["node", "--input-type=module", "-e", program], cwd=HERE, **processes.PIPES)
    out, err = processes.finish(run)
    if run.returncode != 0:
        raise Failed("node failed", err)
    return json.loads(out)


class Simulation:
    """Answers one job after the other (play.mjs says what a job is)."""

    def __init__(self, folder=BUILD / "play", script=HERE / "play.mjs"):
        """folder has the stages (stages.json)."""
        tool.need("node", "deps-play")
        if not (folder / "stages.json").exists():
            raise Failed("the stages are not built for the simulation. To build them: make play")
        self.folder = folder
        self.process = processes.start(["node", script, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       text=True)

    def ask(self, **job):
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"node has ended ({processes.ending(self.process.wait())})")
        return json.loads(line)

    def bundle(self):
        """What build.py has written: the stages, and those that are missing."""
        return json.loads((self.folder / "stages.json").read_text())

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
