#!/usr/bin/env python3
"""Opens JupyterLab in Chromium as a user does: browser.py NOTEBOOK FOLDER. Runs the notebook, sees its figures, stops a training, uses the
model, turns a scatter in three dimensions. Screenshots are left in FOLDER."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

PORT = 8899
# All outputs are drawn, also those outside of the window.
SETTINGS = {"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}, "@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"}}
TRAINING = 'let long = concord(&simulate("three_clusters")?).no_batch().n_epochs(100000).train()?;'
AFTER = 'let seen = simulate("three_clusters")?;\nlet in_3d = umap_with(&long.embed(&seen)?).n_components(3).run()?;\nin_3d.plot_3d().color_by(seen.obs("cell_type")?)'


def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not path:
        sys.exit("no Chromium; on Debian and Ubuntu: apt install chromium")
    return path


def wait_for_server(url: str) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except OSError:
            time.sleep(0.25)
    sys.exit("JupyterLab does not answer")


def idle(page, seconds: int) -> None:
    """Until no cell runs or waits."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('.jp-Notebook .jp-InputPrompt')].every(p => !p.textContent.includes('*'))", timeout=1000 * seconds
    )


def cell_with(page, text: str):
    return page.locator(".jp-Notebook .jp-CodeCell", has_text=text).last


def run_cell(page, text: str) -> None:
    cell_with(page, text).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")


def main() -> None:
    notebook, shots = Path(sys.argv[1]), Path(sys.argv[2])
    shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        opened = nbformat.read(notebook, 4)
        n_own = len(opened.cells)
        for cell in opened.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        opened.cells += [nbformat.v4.new_code_cell(code) for code in (TRAINING, AFTER)]
        nbformat.write(opened, folder / "opened.ipynb")
        settings = folder / "settings"
        for name, values in SETTINGS.items():
            plugin = name.split(":")
            path = settings / plugin[0] / f"{plugin[1]}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={PORT}", "--IdentityProvider.token=", f"--LabApp.user_settings_dir={settings}", f"--ServerApp.root_dir={folder}"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(shots / "server.log").open("w"))
        try:
            wait_for_server(f"http://127.0.0.1:{PORT}/api")
            with sync_playwright() as play:
                options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--use-gl=swiftshader", "--enable-unsafe-swiftshader"]
                browser = play.chromium.launch(executable_path=chromium(), args=options)
                page = browser.new_page(viewport={"width": 1200, "height": 1000})
                session(page, shots, n_own)
                browser.close()
        finally:
            server.terminate()
            server.wait(20)


def session(page, shots: Path, n_own: int) -> None:
    page.goto(f"http://127.0.0.1:{PORT}/lab/tree/opened.ipynb?reset")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=120_000)
    # Until the kernel is there.
    page.wait_for_function("() => document.querySelector('.jp-Toolbar-kernelName')?.textContent.includes('Rust (Tutti)')", timeout=60_000)
    page.wait_for_function("() => document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'", timeout=60_000)
    cells = page.locator(".jp-Notebook .jp-Cell")
    for i in range(n_own):
        if "jp-CodeCell" in (cells.nth(i).get_attribute("class") or ""):
            cells.nth(i).locator(".cm-content").click()
            page.keyboard.press("Control+Enter")
    page.wait_for_timeout(500)
    idle(page, 300)
    errors = page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.stderr'], .jp-OutputArea [data-mime-type='application/vnd.jupyter.error']")
    assert errors.count() == 0, errors.first.inner_text()
    pictures = page.locator(".jp-OutputArea img, .jp-OutputArea .jp-RenderedSVG svg, .jp-OutputArea .jp-RenderedSVG img")
    assert pictures.count() > 0, "no figure"
    pictures.first.scroll_into_view_if_needed()
    page.screenshot(path=shots / "figure.png")

    run_cell(page, "100000")
    output = cell_with(page, "100000").locator(".jp-OutputArea")
    output.get_by_text("loss").first.wait_for(timeout=60_000)
    page.wait_for_timeout(1500)
    output.scroll_into_view_if_needed()
    page.screenshot(path=shots / "training.png")
    started = time.time()
    page.keyboard.press("Escape")
    page.keyboard.press("i")
    page.keyboard.press("i")
    output.get_by_text("interrupted").first.wait_for(timeout=20_000)
    print(f"a training in the browser stopped within {time.time() - started:.2f} s")
    page.screenshot(path=shots / "stopped.png")

    run_cell(page, "plot_3d")
    output = cell_with(page, "plot_3d").locator(".jp-OutputArea")
    frame = output.frame_locator("iframe")
    frame.locator("canvas").first.wait_for(timeout=120_000)
    page.wait_for_timeout(1500)
    output.scroll_into_view_if_needed()
    page.screenshot(path=shots / "three_dimensions.png")
    # Points are drawn, and others after it was turned.
    canvas = frame.locator("canvas").first
    before = canvas.screenshot()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 120, box["y"] + box["height"] / 2 + 40, steps=8)
    page.mouse.up()
    page.wait_for_timeout(500)
    after = canvas.screenshot()
    page.screenshot(path=shots / "turned.png")
    assert before != after, "the scatter does not turn"
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
