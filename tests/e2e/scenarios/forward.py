"""Breakpoint, continue, step, next, finish, print and x, as in any debugger."""

from gdb_side import check, check_at, check_equal, frames, function, go, run_to, value


def run():
    run_to("begin")
    go("next")
    check_at("write")
    go("next")
    run_to("fill")
    go("step")
    check_equal("function after step", "fill", function())
    run_to("call")
    go("step")
    check_equal("function", "add", function())
    check_equal("argument", 0, value("a"))
    text = go("finish")
    check("Value returned is $1 = 0" in text, f"finish said {text!r}")
    run_to("middle")
    check_equal("total", 285, value("total"))
    check("hello" in go("print text"), "text is not hello")
    check("4\t9\t16" in go("x/3dw &values[2]"), "x shows other values")
    check_equal("backtrace", ["main"], frames())
