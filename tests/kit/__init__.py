"""What all tools share: one module for each subject."""
import signal

# Until tool.run() takes over, Ctrl-C ends a tool as it ends any program, not with a traceback of its imports. A command
# in tests/ therefore imports kit before anything else.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
