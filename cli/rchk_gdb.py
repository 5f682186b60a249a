"""gdb commands for sessions with rchk. `rchk replay` loads them; elsewhere: source rchk_gdb.py."""

import gdb


class RchkLast(gdb.Command):
    """rchk-last EXPRESSION: go back to where the value of EXPRESSION was last changed.

Stops in front of the instruction that changed it. Again, it goes to the change before that one.
EXPRESSION is a variable or anything else that lies in memory."""

    def __init__(self):
        super().__init__("rchk-last", gdb.COMMAND_RUNNING, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, _from_tty):
        if not argument:
            raise gdb.GdbError("rchk-last: which expression?")
        value = gdb.parse_and_eval(argument)
        if value.address is None:
            raise gdb.GdbError(f"{argument} does not lie in memory")
        address = int(value.address.cast(gdb.lookup_type("unsigned long")))
        gdb.execute(f"monitor last {address:#x} {value.type.sizeof}")


def rchk_answer(packet):
    """What rchk answers to a packet; nothing where the target is another one."""
    connection = gdb.selected_inferior().connection
    if not isinstance(connection, gdb.RemoteTargetConnection):
        return None
    if b"name:rchk" not in (connection.send_packet("qGDBServerVersion") or b""):
        return None
    return connection.send_packet(packet)


def rchk_place():
    """Where gdb believes that the program stands."""
    try:
        thread, frame = gdb.selected_thread(), gdb.newest_frame()
        return thread.ptid, frame.pc(), int(frame.read_register("rsp"))
    except (gdb.error, AttributeError):
        return None


def rchk_select_thread(tid):
    gdb.execute("info threads", to_string=True)  # gdb asks which there are now
    for thread in gdb.selected_inferior().threads():
        if thread.ptid[1] == tid:
            thread.switch()


def rchk_after_monitor():
    """gdb does not notice that a monitor command moved the program: makes it look again."""
    current = rchk_answer("qRchkMoved")
    if current is None or not current.startswith(b"QC"):
        return
    try:
        before, level = rchk_place(), gdb.selected_frame().level()
    except gdb.error:
        before, level = None, 0
    gdb.execute("maintenance flush register-cache", to_string=True)
    gdb.execute("maintenance flush dcache", to_string=True)
    rchk_select_thread(int(current.decode().rpartition(".")[2].replace("QC", ""), 16))
    # Reads the dynamic linker's list anew. `sharedlibrary` would not where the linker has probes: gdb
    # then keeps a copy, which only changes where it stops in the linker (solib-svr4.c).
    gdb.execute(f"set solib-search-path {gdb.parameter('solib-search-path') or ''}", to_string=True)
    moved = rchk_place() != before
    gdb.execute("frame" if moved else f"frame {level}", to_string=not moved)


RchkLast()
gdb.execute("define hookpost-monitor\npython rchk_after_monitor()\nend")
