"""The puzzle without async: one synchronous worker serves one client after the other."""
import os
import time

from flask import Flask

DELAY = float(os.environ.get("DELAY", "10"))
app = Flask(__name__)


@app.route("/fast")
def fast():
    return "That was fast!", {"Content-Type": "text/plain; charset=utf-8"}


@app.route("/slow")
def slow():
    time.sleep(DELAY)
    return "That was slow!", {"Content-Type": "text/plain; charset=utf-8"}
