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
        # gdb does not notice that the program was moved.
        gdb.execute("maintenance flush register-cache", to_string=True)
        gdb.execute("maintenance flush dcache", to_string=True)
        gdb.execute("frame")


RchkLast()
