"""Servers that are recorded while clients outside of the recording use them."""

import concurrent.futures
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import time

from record_replay.cycle import Subject

SCRIPTS = pathlib.Path(__file__).resolve().parent / "scripts"


class ServerGone(Exception):
    pass


def when_ready(attempt, running, seconds=60):
    """Repeats what fails with OSError while a server comes up; returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except (OSError, ValueError, http.client.HTTPException) as error:
            if not running() or time.monotonic() > end:
                raise ServerGone(f"{error}") from error
            time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def redis(io_threads):
    def make(full):
        command = ["redis-server", "--port", "0", "--unixsocket", "redis.sock", "--save", "",
                   "--appendonly", "yes", "--io-threads", str(io_threads), "--dir", "."]
        requests = 50_000 if full else 1000
        return Subject("", command, timeout=240 if full else 40, varies=True,
                       needs=["redis-benchmark", "redis-cli"],
                       client=lambda cwd, running: redis_client(cwd, running, requests))

    return make


def redis_client(cwd, running, requests):
    def ask(*words):
        done = subprocess.run(["redis-cli", "-s", "redis.sock", *words], cwd=cwd, timeout=120,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(done.stderr)
        return done.stdout.strip()

    def saved():
        if "rdb_bgsave_in_progress:0" not in ask("info", "persistence"):
            raise ValueError("still saving")

    when_ready(lambda: ask("ping"), running)
    subprocess.run(
        ["redis-benchmark", "-s", "redis.sock", "-n", str(requests), "-c", "8", "-q",
         "-t", "set,incr,lpush,zadd,mset"],
        cwd=cwd, check=True, capture_output=True, timeout=200)
    results = [ask("eval", "local s = 0 for i = 1, 1000 do s = s + redis.call('incr', 'n') end "
                           "return s", "0"),
               ask("save"), ask("bgsave")]
    when_ready(saved, running)
    results += [ask("get", "counter:__rand_int__"), ask("type", "mylist"), ask("get", "n")]
    try:
        ask("shutdown", "nosave")
    except OSError:
        pass  # the connection is gone with the server
    return results


NGINX = """
user root;
worker_processes 2;
daemon off;
pid nginx.pid;
error_log error.log;
events { worker_connections 64; }
http {
  access_log access.log;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {
    listen 127.0.0.1:PORT;
    root html;
    location /hello { return 200 "hello $arg_name"; }
    gzip on; gzip_types *; gzip_min_length 100;
  }
}
"""


def nginx(full):
    def prepare(folder):
        (folder / "html").mkdir()
        (folder / "html" / "page").write_text("line of text\n" * 5000)
        port = free_port()
        (folder / "port").write_text(str(port))
        (folder / "nginx.conf").write_text(NGINX.replace("PORT", str(port)))

    command = ["/usr/sbin/nginx", "-e", "error.log", "-p", ".", "-c", "nginx.conf"]
    return Subject("", command, timeout=120, prepare=prepare, needs=["/usr/sbin/nginx"],
                   client=lambda cwd, running: nginx_client(cwd, running, 2000 if full else 100))


def nginx_client(cwd, running, requests):
    port = int((cwd / "port").read_text())

    def load(number):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        got = []
        for i in range(requests // 4):
            path = "/page" if i % 2 else f"/hello?name={number}-{i}"
            headers = {"Accept-Encoding": "gzip"} if i % 5 == 1 else {}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            got.append((answer.status, len(answer.read())))
            if i % 10 == 9:
                connection.close()
        connection.close()
        return got

    when_ready(lambda: socket.create_connection(("127.0.0.1", port)).close(), running)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(load, range(4)))
    os.kill(int((cwd / "nginx.pid").read_text()), signal.SIGQUIT)
    return results


def memcached(full):
    command = ["memcached", "-u", "root", "-s", "memcached.sock", "-t", "4", "-P", "memcached.pid"]
    return Subject("", command, timeout=120, client=lambda cwd, running: memcached_client(
        cwd, running, 5000 if full else 200))


def memcached_client(cwd, running, rounds):
    where = os.path.relpath(cwd / "memcached.sock")  # a socket's path is short

    def connected():
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(where)
        connection.settimeout(60)
        return connection

    def load(number):
        total = 0
        with connected() as connection, connection.makefile("rwb") as stream:
            for i in range(rounds):
                value = b"v" * (1 + i * 37 % 2000)
                stream.write(b"set k%d-%d 0 0 %d\r\n%s\r\n" % (number, i % 50, len(value), value))
                stream.flush()
                assert stream.readline() == b"STORED\r\n"
                stream.write(b"get k%d-%d\r\n" % (number, i % 50))
                stream.flush()
                while (line := stream.readline()) != b"END\r\n":
                    total += len(line)
        return total

    when_ready(lambda: connected().close(), running)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(load, range(4)))
    os.kill(int((cwd / "memcached.pid").read_text()), signal.SIGTERM)
    return results


def node(full):
    return Subject("", ["node", str(SCRIPTS / "node_server.js")], timeout=120,
                   client=lambda cwd, running: node_client(cwd, running, 1000 if full else 40))


def node_client(cwd, running, requests):
    port = when_ready(lambda: int((cwd / "port").read_text()), running)

    def ask(path, body=""):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", path, body)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    def load(number):
        return [ask(f"/{number}/{i}", f"some words {i} " * 20) for i in range(requests // 4)]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(load, range(4)))
    return results, ask("/end")
