"""Watchpoints of other sizes and kinds: a byte of the heap, an array, a read."""

from gdb_side import MODE, check_at, check_equal, go, run_to, value


def run():
    run_to("end")
    go("watch -l *(char*)text")
    go("reverse-continue")
    check_equal("first letter", ord("h"), value("text[0]"))
    go("reverse-continue")
    check_equal("first letter before the copy", 0, value("text[0]"))
    go("delete")
    run_to("end")
    go("watch values")
    go("reverse-continue")
    check_equal("values[0]", 0, value("values[0]"))
    check_at("filled")
    for i in range(9, 6, -1):
        go("reverse-continue")
        check_equal(f"values[{i}]", 0, value(f"values[{i}]"))
        check_at("store")
    go("delete")
    run_to("begin", "reverse-continue")
    if MODE == "native":
        return  # gdb's record has none that reads
    go("rwatch values[3]")
    go("continue")
    check_at("call")
    check_equal("i at the first read", 3, value("i"))
