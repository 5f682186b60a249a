"""An event loop with servers, clients, processes, signals and threads."""

import asyncio
import os
import signal
import sys


async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line[:-1][::-1] + b"\n")
        await writer.drain()
    writer.close()


async def ask(port, number, rounds):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for i in range(rounds):
        text = f"{number}-{i}".encode()
        writer.write(text + b"\n")
        assert await reader.readline() == text[::-1] + b"\n"
    writer.close()
    await writer.wait_closed()
    return number


async def main():
    rounds = 10 * int(sys.argv[1])
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(await asyncio.gather(*(ask(port, i, rounds) for i in range(8))))
    server.close()
    child = await asyncio.create_subprocess_exec(
        "sort", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    print((await child.communicate(b"c\na\nb\n"))[0], child.returncode)
    loop, got = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, got.set)
    loop.call_later(0.01, os.kill, os.getpid(), signal.SIGUSR1)
    print("signal", await asyncio.wait_for(got.wait(), 30))
    print("thread", await asyncio.to_thread(sum, range(1000)))
    try:
        await asyncio.wait_for(asyncio.sleep(60), 0.02)
    except asyncio.TimeoutError:
        print("timeout")
    queue = asyncio.Queue(2)

    async def produce():
        for i in range(20):
            await queue.put(i)

    task = asyncio.create_task(produce())
    print([await queue.get() for _ in range(20)])
    await task


asyncio.run(main())
