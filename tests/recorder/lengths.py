"""How a person writes a length of time."""


def duration(seconds):
    """A duration as a person writes it: 0.3 ms, 902 ms, 1 s, 9.62 s, 12.3 s, 5 min 20 s, 2 h 5 min."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 119.95:
        return f"{seconds:.{2 if seconds < 9.995 else 1}f}".rstrip("0").rstrip(".") + " s"
    whole = round(seconds)
    big, small, units = (whole // 60, whole % 60, ("min", "s")) if whole < 7200 else (
        whole // 3600, whole % 3600 // 60, ("h", "min"))
    return f"{big} {units[0]}" + (f" {small} {units[1]}" if small else "")
