#!/usr/bin/env python3
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent / "trace"), str(pathlib.Path(__file__).resolve().parent)]
import lab
import recorder, strace_log, understand, dataclasses, json

def main(arguments):
    stack = recorder.check()
    out = []
    for stage in arguments or [*lab.STAGES, "trap"]:
        text = recorder.record_stage(stage, ["--delay", "1"], ["0:/slow", "100:/fast"], stack, 30)
        open("/tmp/tr/raw-" + stage, "w").write(text)
        r = understand.understand(strace_log.read(text)[0])
        print(r.name, r.serializes, r.sentence)
        out.append(dataclasses.asdict(r))
    json.dump(out, open("/tmp/w/sample-recordings.json", "w"), indent=1)
    return 0

if __name__ == "__main__":
    lab.run(main)
