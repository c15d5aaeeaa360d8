"""Ask the person at the terminal."""
import sys
import termios


def possible():
    """Is somebody there who could answer?"""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def choice(question, answers):
    """Ask until one of the answers is chosen by its number. Return its index; None for an empty line, or at the
    end of the input (Ctrl-D)."""
    print(f"    {question}")
    for number, answer in enumerate(answers, 1):
        print(f"      {number}  {answer}")
    numbers = [str(number) for number in range(1, len(answers) + 1)]
    termios.tcflush(sys.stdin, termios.TCIFLUSH)  # what was typed before the question is no answer to it
    while True:
        print(f"    {', '.join(numbers)}, or Enter to skip: ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            print()
        if not line.strip():
            return None
        if line.strip() in numbers:
            return int(line) - 1
