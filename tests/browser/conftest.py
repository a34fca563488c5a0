"""A real browser and a real JupyterLab for the tests in this folder.

Chromium is the system's (`chromium` on the path, or the environment variable CHROMIUM), so nothing
is downloaded. Without one, or without pytest-playwright, the tests are skipped and say so; on CI
they fail instead. WIDGET_SHOTS=folder makes them leave screenshots there. THROTTLE=6 makes the page
compute six times slower: what a test does not wait for, it then misses.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pages import served

TOKEN = "loopback-only"
NAMES = ["chromium", "chromium-browser", "google-chrome", "chrome"]


def unavailable(reason: str) -> Any:
    """Skip, but never silently on CI."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must run the browser tests: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    chosen = os.environ.get("CHROMIUM")
    path = chosen or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None or not Path(path).exists():
        unavailable(f"no Chromium found ({chosen or 'none on the path'}); set CHROMIUM to its path")
    try:
        import pytest_playwright  # noqa: F401
    except ImportError:
        unavailable("pytest-playwright is not installed: pip install '.[browser]'")
    return path


@pytest.fixture(scope="session")
def browser_type_launch_args(chromium: str) -> dict[str, Any]:
    """Overrides pytest-playwright's own: the system's Chromium, no outside services."""
    arguments = ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium refuses to start as root with it
    return {"executable_path": chromium, "args": arguments}


class Watch:
    """What must not happen on a page: errors, requests that leave the machine, missing files."""

    def __init__(self, context: Any) -> None:
        self.problems: list[str] = []
        context.route("**/*", self._route)
        context.on("page", self._page)

    def _route(self, route: Any) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in ("data", "blob", "file") or url.hostname in ("127.0.0.1", "localhost"):
            route.continue_()
        else:
            self.problems.append(f"outside request: {route.request.url}")
            route.abort()

    def _page(self, page: Any) -> None:
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("response", self._response)

    def _response(self, response: Any) -> None:
        if 400 <= response.status < 500:
            self.problems.append(f"{response.status}: {response.url}")


@pytest.fixture(scope="module")
def watched(chromium: str, request: pytest.FixtureRequest) -> Iterator[tuple[Any, Watch]]:
    """A page and the watch on it; the module's tests share them."""
    # Asked for only now: without pytest-playwright there is no such fixture, and `chromium` skips.
    browser = request.getfixturevalue("browser")
    context = browser.new_context(viewport={"width": 1240, "height": 1000})
    watch = Watch(context)
    page = context.new_page()
    page.set_default_timeout(60_000)
    if rate := os.environ.get("THROTTLE"):
        session = context.new_cdp_session(page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": float(rate)})
    yield page, watch
    context.close()


@pytest.fixture
def quiet(watched: tuple[Any, Watch]) -> Iterator[None]:
    """No test may leave an error, an outside request or a missing file behind, nor less motion."""
    yield
    page, watch = watched
    page.emulate_media(reduced_motion="no-preference")
    problems, watch.problems = watch.problems, []
    assert problems == []


@pytest.fixture(scope="module")
def site(book: Path) -> Iterator[str]:
    """The book on loopback, served as plain files."""
    with served(book) as address:
        yield address


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def jupyterlab(home: Path, root: Path, before: Sequence[str] = ()) -> Iterator[str]:
    """A JupyterLab for ``root`` on a free loopback port, its settings below ``home``: its address.

    ``before`` are words to put before its command.
    """
    folders = [
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
        "IPYTHONDIR",
    ]
    package = str(Path(__file__).parents[2])
    env = os.environ | {name: str(home / name.lower()) for name in folders}
    # Every cell stays in the page: JupyterLab 4.3 takes those out of sight out of it.
    tracker = Path(env["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab/notebook-extension")
    tracker.mkdir(parents=True, exist_ok=True)
    (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    port = free_port()
    command = [
        *[*before, sys.executable, "-m", "jupyterlab"],
        *["--no-browser", "--allow-root", "--ip=127.0.0.1"],
        *[f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"],
        *[f"--ServerApp.root_dir={root}", "--expose-app-in-browser"],
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=None",
    ]
    with running(command, env, home / "log", port) as address:
        yield address


@contextmanager
def running(
    command: list[str], env: dict[str, str], log: Path, port: int, folder: Path | None = None
) -> Iterator[str]:
    """A command, run in ``folder``, that becomes a JupyterLab: its address, once it answers."""
    with log.open("w") as words:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=words, stderr=words)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 90
        while True:
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
            try:
                urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=2).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()  # it ends its kernels too
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab and the folder that it shows."""
    home = tmp_path_factory.mktemp("jupyter")
    root = home / "notebooks"
    root.mkdir()
    with jupyterlab(home, root) as address:
        yield address, root


class Lab:
    """One notebook, open in JupyterLab."""

    def __init__(self, page: Any) -> None:
        """Waits until the notebook is there and its kernel is ready."""
        self.page = page
        page.wait_for_function(
            """() => {
                const session = window.jupyterapp?.shell.currentWidget?.sessionContext;
                const kernel = session?.session?.kernel;
                return session?.isReady && kernel?.status === "idle"
                    && kernel.connectionStatus === "connected";
            }"""
        )

    @classmethod
    def opened(cls, page: Any, address: str, notebook: str) -> "Lab":
        page.goto(f"{address}/lab/tree/{notebook}?token={TOKEN}&reset")
        return cls(page)

    def command(self, name: str, **options: Any) -> None:
        """Start one of JupyterLab's commands. It is not awaited: some never come back."""
        self.page.evaluate(
            "([name, options]) => { void window.jupyterapp.commands.execute(name, options); }",
            [name, options],
        )

    def python(self, expression: str, code: str = "") -> Any:
        """Run code in the kernel, then the value of an expression, as text."""
        return self.page.evaluate(
            """async ([code, expression]) => {
                const context = window.jupyterapp.shell.currentWidget.sessionContext;
                const request = { code, user_expressions: { value: expression }, silent: false,
                    store_history: false };
                const reply = await context.session.kernel.requestExecute(request).done;
                return reply.content.user_expressions?.value?.data?.["text/plain"]
                    ?? JSON.stringify(reply.content);
            }""",
            [code, expression],
        )

    def wait_for_python(self, expression: str, wanted: str) -> None:
        """Until the kernel has heard of a change in the page."""
        until = time.monotonic() + 60
        while (value := self.python(expression)) != wanted:
            assert time.monotonic() < until, f"{expression} is {value}, not {wanted}"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def open_notebook(watched: tuple[Any, Watch], lab_server: tuple[str, Path]) -> Any:
    """``open_notebook(name, cells)`` writes a notebook of code cells, opens it and runs it all."""
    import nbformat

    address, root = lab_server
    page, _ = watched

    def opened(name: str, cells: list[str]) -> Lab:
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook.metadata.kernelspec = kernel
        nbformat.write(notebook, root / name)
        lab = Lab.opened(page, address, name)
        lab.command("notebook:run-all-cells")
        return lab

    return opened


@pytest.fixture(scope="module")
def open_executed(watched: tuple[Any, Any], lab_server: tuple[str, Path]) -> Callable[..., Lab]:
    """``open_executed(name, notebook)`` opens a notebook with its outputs, and runs nothing."""
    import nbformat
    from nbformat.sign import NotebookNotary

    address, root = lab_server

    def opened(name: str, notebook: Any) -> Lab:
        # What another has executed JupyterLab shows only if it was signed.
        NotebookNotary(data_dir=str(root.parent / "jupyter_data_dir")).sign(notebook)
        nbformat.write(notebook, root / name)
        return Lab.opened(watched[0], address, name)

    return opened


@pytest.fixture
def lab_of(
    watched: tuple[Any, Watch], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Lab]]:
    """``lab_of(path, before)`` opens a notebook in a JupyterLab of its own, for its folder."""
    with ExitStack() as servers:

        def opened(path: Path, before: Sequence[str] = ()) -> Lab:
            home = tmp_path_factory.mktemp("jupyter")
            address = servers.enter_context(jupyterlab(home, path.parent, before))
            return Lab.opened(watched[0], address, path.name)

        yield opened
