#!/usr/bin/env python3
"""A real application through the proxy, visited as people with cookie jars do.

    check.py --binary PATH --application django|rails --source DIR --venv DIR --work DIR

What must hold, whatever the framework sends: everyone gets their own pages in any order, cold and warm, and at once; who
signed in before the proxy started is known; forms are accepted and show their result; theme and language work; a link
that signs in once is asked for once; signing out shows at once; and nothing of anybody is in a file or a log line.
Each check is a function, in the order of the file. Exit 0: all passed; 1: something failed.
"""

import argparse
import concurrent.futures
import http.client
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

HOST = "127.0.0.1"
SECRET = "-s3cr3t@site.test"
PUBLIC = "/about"
PAGES = ["/about", "/", "/account", "/guestbook", "/login", "/missing"]


def free_port():
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


def expect(condition, *what):
    if not condition:
        raise AssertionError(" ".join(str(part) for part in what))


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.fields = response.getheaders()
        self.body = response.read()
        self.text = self.body.decode("utf-8", "replace")

    def field(self, name):
        return next((value for known, value in self.fields if known.lower() == name), None)

    @property
    def cache(self):
        return self.field("cache-status") or ""

    @property
    def hit(self):
        return "phantom-frame;hit" in self.cache.replace(" ", "")

    def __str__(self):
        return f"{self.status} {self.fields} {self.text[:600]}"


class Visitor:
    """Somebody with a browser: keeps cookies, and follows redirects where `open` or `submit` are told to."""

    def __init__(self, name, port, jar=None):
        self.name, self.port, self.jar = name, port, dict(jar or {})

    def at(self, port):
        return Visitor(self.name, port, self.jar)

    def send(self, method, target, body=None, **fields):
        headers = {
            # The site's own, wherever the request goes: tokens and origins are checked against it.
            "Host": f"{HOST}:{SITE_PORT}",
            "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
            "Accept-Language": "en",
            "Accept-Encoding": "identity",
            "User-Agent": "Mozilla/5.0 Firefox/140.0",
            "Sec-Fetch-Dest": "document",
        }
        if self.jar:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["Origin"] = f"http://{HOST}:{SITE_PORT}"
        connection = http.client.HTTPConnection(HOST, self.port, timeout=20)
        try:
            connection.request(method, target, body=body, headers=headers | fields)
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        for name, value in answer.fields:
            if name.lower() == "set-cookie":
                self.keep(value)
        return answer

    def keep(self, line):
        pair, _, attributes = line.partition(";")
        name, _, value = pair.partition("=")
        attributes = attributes.lower()
        if "max-age=0" in attributes.replace(" ", "") or "01 jan 1970" in attributes:
            self.jar.pop(name.strip(), None)
        else:
            self.jar[name.strip()] = value.strip()

    def get(self, target, **fields):
        return self.send("GET", target, **fields)

    def follow(self, answer):
        for _ in range(5):
            location = answer.field("location")
            if answer.status not in (301, 302, 303) or location is None:
                return answer
            answer = self.get(urllib.parse.urlsplit(location)._replace(scheme="", netloc="").geturl())
        raise AssertionError("too many redirects")

    def open(self, target):
        return self.follow(self.get(target))

    def submit(self, target, page, **values):
        """Sends the form that came with `page`, and goes where that leads."""
        token = re.search(r'name="(csrfmiddlewaretoken|authenticity_token)" value="([^"]*)"', page.text)
        expect(token, "no token in", page)
        fields = values | {token[1]: token[2]}
        return self.follow(self.send("POST", target, urllib.parse.urlencode(fields)))

    def sign_in(self):
        page = self.submit("/login", self.get("/login"), name=self.name, password=f"{self.name}-password")
        expect(f"The account of {self.name}, {self.name}{SECRET}" in page.text, "signed in as", self.name, page)
        expect(f"message: Welcome, {self.name}" in page.text, "welcome", page)
        return self


class Process:
    def __init__(self, log, *command, **environment):
        self.log = Path(log)
        with self.log.open("ab") as out:
            self.child = subprocess.Popen(
                [str(part) for part in command], stdout=out, stderr=out, env=os.environ | environment
            )

    def until_it_listens(self, port):
        for _ in range(600):
            expect(self.child.poll() is None, "it ended:", self.log.read_text())
            try:
                socket.create_connection((HOST, port), 1).close()
                return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"does not listen on {port}: {self.log.read_text()}")

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(15)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class Scene:
    """The application, started once, and a proxy in front of it that can start anew."""

    def __init__(self, options):
        self.options = options
        self.work = Path(options.work)
        self.work.mkdir(parents=True)
        self.backend_port = free_port()
        self.proxy = None
        self.round = 0
        self.secrets = {SECRET}
        self.backend = self.start_backend().until_it_listens(self.backend_port)

    def start_backend(self):
        source, venv = Path(self.options.source), Path(self.options.venv)
        environment = {"SITE_WORK": str(self.work), "SITE_SLIDES": "1", "RAILS_ENV": "production"}
        log = self.work / "application.log"
        if self.options.application == "django":
            python = venv / "bin" / "python"
            subprocess.run(
                [python, source / "hut.py"], check=True, cwd=source, env=os.environ | environment, timeout=60
            )
            return Process(
                log, venv / "bin" / "gunicorn", "--chdir", source, "--bind", f"{HOST}:{self.backend_port}",
                "--workers", "2", "--threads", "8", "hut:application", **environment,
            )
        return Process(
            log, "puma", "--bind", f"tcp://{HOST}:{self.backend_port}", "--threads", "8:8",
            source / "config.ru", **environment,
        )

    def restart(self, directory, *flags):
        """Another process of the proxy; a new directory is a cold one."""
        if self.proxy:
            self.proxy.stop()
        self.directory = self.work / directory
        self.proxy = Process(
            self.work / "proxy.log", self.options.binary, "serve",
            "--backend", f"http://{HOST}:{self.backend_port}", "--bind", HOST, "--port", SITE_PORT,
            "--control-port", "0", "--snapshots", self.directory, "--durability", "none", *flags,
            PHANTOM_FRAME_LOG="phantom_frame=trace", **({"PHANTOM_FRAME_KEY_COOKIES": self.keyed} if self.keyed else {}),
        ).until_it_listens(SITE_PORT)

    keyed = ""

    def cold(self, *flags):
        self.round += 1
        self.restart(f"snapshots-{self.round}", *flags)

    def visitor(self, name, jar=None):
        return Visitor(name, SITE_PORT, jar)

    def known(self, name):
        """Who signed in at the application itself, without the proxy."""
        visitor = Visitor(name, self.backend_port).sign_in().at(SITE_PORT)
        self.remember(visitor)
        return visitor

    def remember(self, visitor):
        self.secrets |= {value for name, value in visitor.jar.items() if len(value) > 12}

    def nothing_kept(self):
        """No secret is in a file of a snapshot directory, or in the proxy's log; and both were looked at."""
        names = {f"{name}{SECRET}" for name in ("alice", "bob")}
        secrets = [secret.encode() for secret in self.secrets | names]
        files = [path for path in self.work.glob("snapshots-*/**/*") if path.is_file()]
        public = 0
        for path in [*files, self.work / "proxy.log"]:
            content = path.read_bytes()
            public += b"/about" in content
            for secret in secrets:
                expect(secret not in content and secret.decode() not in str(path), secret, "is in", path)
        expect(public >= 2, "the public page is neither stored nor logged")

    def count(self, code):
        counts = self.work / "counts"
        return counts.read_text().split().count(code) if counts.exists() else 0


def own(visitor, target, page):
    """The page is this visitor's: with their name, and nothing of the others."""
    everything = f"{page.fields}{page.text}"
    for other in ("alice", "bob"):
        is_there = f"{other}{SECRET}" in everything or f"Hello, {other}" in everything
        expect(not is_there or other == visitor.name, other, "on", target, "of", visitor.name, page)
    somebody = visitor.name in ("alice", "bob")
    if target == "/":
        expect(f"Hello, {visitor.name if somebody else 'stranger'}" in page.text, visitor.name, page)
    if target == "/account":
        expect(f"{visitor.name}{SECRET}" in page.text if somebody else page.status == 302, visitor.name, page)
    if target == PUBLIC:
        expect("About, light, en" in page.text, page)


def everyone_gets_their_own_pages_in_every_order(scene):
    alice, bob = scene.known("alice"), scene.known("bob")
    for order in itertools.permutations(["alice", "bob", "nobody", "bot"]):
        scene.cold()
        people = {"alice": alice.at(SITE_PORT), "bob": bob.at(SITE_PORT), "nobody": scene.visitor("nobody")}
        for _ in range(2):
            for name in order:
                visitor = people.get(name) or scene.visitor("bot")
                for target in PAGES:
                    own(visitor, target, visitor.get(target))
        scene.remember(people["nobody"])
        expect(scene.visitor("bot").get(PUBLIC).hit, "the public page is no hit")


def fifty_at_once_get_their_own_pages(scene):
    alice, bob = scene.known("alice"), scene.known("bob")
    scene.cold()
    for target in PAGES:
        visitors = [alice, bob, scene.visitor("nobody"), scene.visitor("bot")] * 13
        visitors = [Visitor(visitor.name, SITE_PORT, visitor.jar) for visitor in visitors]
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            for visitor, page in pool.map(lambda visitor: (visitor, visitor.get(target)), visitors):
                own(visitor, target, page)


def who_signed_in_before_the_proxy_started_is_known(scene):
    alice = scene.known("alice")
    scene.cold()
    for target in PAGES:
        scene.visitor("nobody").get(target)
    scene.restart(scene.directory.name)
    for target in PAGES:
        page = alice.get(target)
        own(alice, target, page)
        expect(not page.hit, target, page)
    expect(scene.visitor("nobody").get(PUBLIC).hit, "the public page is no hit after a restart")


def harmless_cookies_do_not_cost_the_hit(scene):
    scene.cold()
    scene.visitor("nobody").get(PUBLIC)
    for name in ["_ga", "_ga_X1", "_fbp", "_pk_id.1.1fff", "OptanonConsent", "CookieConsent", "csrftoken", "XSRF-TOKEN"]:
        page = scene.visitor("nobody", {name: "some-value-of-a-visitor"}).get(PUBLIC)
        expect(page.hit, name, page)


def signing_in_and_out_shows_at_once(scene):
    scene.cold()
    for target in PAGES:
        scene.visitor("nobody").get(target)
    alice = scene.visitor("alice")
    for _ in range(2):
        own(Visitor("nobody", 0), "/", alice.get("/"))
        alice.sign_in()
        scene.remember(alice)
        for target in ["/", "/account", "/"]:
            own(alice, target, alice.get(target))
        home = alice.submit("/logout", alice.get("/guestbook"))
        expect("Hello, stranger" in home.text, home)
        expect(alice.get("/account").status == 302, "still signed in")
        expect(scene.visitor("nobody").get("/account").status == 302, "another is signed in")


def no_page_signs_anybody_out(scene):
    alice = scene.known("alice")
    for _ in range(3):
        scene.cold()
        for target in PAGES:
            alice.get(target)
            own(alice, "/account", alice.get("/account"))
            scene.visitor("nobody").get(target)
        scene.remember(alice)


def forms_are_accepted_and_show_their_result(scene):
    scene.cold()
    visitors = [scene.visitor("nobody"), scene.visitor("another", {"_ga": "1"})]
    for target in PAGES:
        scene.visitor("bot").get(target)
    for number in range(4):
        visitor = visitors[number % 2]
        entry = f"entry-{number}-of-{visitor.name}"
        page = visitor.submit("/guestbook", visitor.get("/guestbook"), entry=entry)
        expect(entry in page.text, page)
        expect("message: Thank you" in page.text, "the message is not shown", page)
        again = visitor.get("/guestbook")
        expect("message:" not in again.text, "the message is shown twice", again)
        for reader in (scene.visitor("bot"), *visitors):
            seen = reader.get("/guestbook")
            expect(entry in seen.text and "message:" not in seen.text, reader.name, seen)


def a_result_is_shown_where_a_form_leads(scene):
    scene.cold()
    scene.visitor("bot").get(PUBLIC)
    visitor = scene.visitor("nobody")
    for entry in ["first-comment", "second-comment"]:
        scene.visitor("bot").get("/board")
        expect(scene.visitor("bot").get("/board").hit, "the board is no hit")
        page = visitor.submit("/comment", visitor.get("/guestbook"), entry=entry)
        expect(entry in page.text, page)
        seen = scene.visitor("bot").get("/board")
        expect(entry in seen.text, seen)


def a_form_stays_good_while_other_pages_are_opened(scene):
    scene.cold()
    scene.visitor("bot").get(PUBLIC)
    visitor = scene.visitor("nobody")
    form = visitor.get("/guestbook")
    for target in ["/", "/login", "/login?again", "/guestbook?page=2", "/missing"]:
        visitor.get(target)
        page = visitor.submit("/guestbook", form, entry=f"after{target}")
        expect(page.status == 200 and f"after{target}" in page.text, "after", target, page)


def theme_and_language_are_each_visitor_s_own(scene):
    for keyed in (False, True):
        scene.keyed = "theme,language,django_language" if keyed else ""
        scene.cold()
        scene.keyed = ""
        scene.visitor("bot").get(PUBLIC)
        dark, german = scene.visitor("nobody"), scene.visitor("nobody")
        page = dark.submit("/theme", dark.get("/guestbook"), value="dark")
        expect("About, dark, en" in page.text, page)
        german.submit("/i18n/setlang/", german.get("/guestbook"), language="de", next="/about")
        for _ in range(2):
            page = german.get(PUBLIC)
            expect("About, light, de" in page.text, page)
            expect("About, dark, en" in dark.get(PUBLIC).text, "the theme is lost")
            own(Visitor("bot", 0), PUBLIC, scene.visitor("bot").get(PUBLIC))
        if keyed:
            page = scene.visitor("another", {"theme": "dark"}).get(PUBLIC)
            again = scene.visitor("another", {"theme": "dark", "_ga": "1"}).get(PUBLIC)
            expect("About, dark, en" in page.text and again.hit, page, again)


def a_link_that_signs_in_once_is_asked_for_once(scene):
    for number, (link, jar) in enumerate(itertools.product(["/link/", "/enter?token="], [{}, {"_ga": "1"}, {"csrftoken": "x" * 32}])):
        scene.cold()
        scene.visitor("bot").get(PUBLIC)
        code = f"code{number}"
        alice = scene.visitor("alice", jar)
        page = alice.open(link + code)
        own(alice, "/account", page)
        expect(f"alice{SECRET}" in page.text, page)
        expect(scene.count(code) == 1, link, jar, "was asked for", scene.count(code), "times")
        expect(scene.visitor("nobody").open(link + code).status == 410, "the link works again")
        scene.remember(alice)


def the_admin_is_for_who_signed_in(scene):
    scene.cold()
    alice = scene.known("alice")
    scene.visitor("bot").get(PUBLIC)
    for _ in range(2):
        for visitor in (alice, scene.visitor("nobody")):
            page = visitor.get("/admin/")
            expect(("alice" in page.text) == (visitor.name == "alice"), page)
            expect(page.status == (200 if visitor.name == "alice" else 302), page)
    style = scene.visitor("nobody").get("/static/admin/css/base.css")
    expect(style.status == 200 and scene.visitor("bot").get("/static/admin/css/base.css").hit, style)
    expect(alice.submit("/logout", alice.get("/guestbook")).status == 200)
    expect(alice.get("/admin/").status == 302, "still in the admin")


the_admin_is_for_who_signed_in.only = "django"

CHECKS = [value for value in list(globals().values()) if callable(value) and getattr(value, "__code__", None)]
CHECKS = [check for check in CHECKS if check.__code__.co_varnames[:1] == ("scene",)]


def main():
    global SITE_PORT
    parser = argparse.ArgumentParser()
    for name in ["binary", "application", "source", "venv", "work"]:
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    SITE_PORT = free_port()
    checks = [check for check in CHECKS if getattr(check, "only", options.application) == options.application]
    scene, failed = Scene(options), 0
    try:
        for check in checks:
            name = check.__name__.replace("_", " ")
            try:
                check(scene)
                scene.nothing_kept()
                print(f"ok    {options.application}: {name}", flush=True)
            except Exception as error:  # Each is one failed check, whatever it is.
                failed += 1
                print(f"FAIL  {options.application}: {name}\n      {type(error).__name__}: {error}", flush=True)
    finally:
        for process in (scene.proxy, scene.backend):
            if process:
                process.stop()
    print(f"{options.application}: {len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
