"""The committed board in a real browser, from a local file: it sorts, filters and tells values, in dark and light."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.report.board import board_data, render
from mmvae_bench.report.folders import Source, read_folder
from mmvae_bench.store.store import Store
from tests.report.test_board import BOARD, evil

CHROME, DRIVER = shutil.which("chromium") or "", shutil.which("chromedriver") or ""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROME and DRIVER), reason="No chromium here: apt-get install chromium chromium-driver."),
]
AA, AA_LARGE = 4.5, 3.0  # least contrast of text, and of large text and of graphics (WCAG 2.2)
CONTRAST = """
const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
const behind = (el) => { for (; el; el = el.parentElement) { const c = rgb(getComputedStyle(el).backgroundColor);
  if (c.length === 3 || c[3] > 0) return c.slice(0, 3); } return null; };
const bad = [];
for (const el of document.querySelectorAll("body *")) {
  const own = [...el.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !el.checkVisibility() || ["SCRIPT", "NOSCRIPT"].includes(el.tagName)) continue;
  const found = ratio(rgb(getComputedStyle(el).color).slice(0, 3), behind(el));
  if (found < 4.5) bad.push([el.tagName, el.textContent.slice(0, 40), found]);
}
const back = behind(document.body), hex = (t) => [1, 3, 5].map((i) => parseInt(t.slice(i, i + 2), 16));
for (const scale of Object.values(view.chart?.options.scales ?? {}))
  if (ratio(hex(scale.ticks.color), back) < 4.5) bad.push(["axis", scale.ticks.color]);
for (const own of view.chart?.data.datasets ?? [])
  if (ratio(hex(own.borderColor), back) < 3) bad.push(["line", own.label, own.borderColor]);
return bad;
"""
PRIORS = "#data=priors-small/mnist_street (500 test rows)"  # complete rows alone
VIEWS = (
    "", "#view=model", "#view=model&model=mmvm", "#view=data", "#data=captioned_shapes/captioned_shapes&ratio=0",
    "#view=data&data=papers/cub", "#data=papers/mnist_svhn", PRIORS,
)  # fmt: skip
NAMELESS = """return [...document.querySelectorAll("select, input, canvas")]
    .filter((element) => !(element.labels?.length || element.ariaLabel)).length"""


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROME
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield made
    made.quit()


def show(driver: Any, hash_: str = "", *, page: Path = BOARD, width: int = 1280, dark: bool = False) -> None:
    """Load a view afresh."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    driver.get("about:blank")
    driver.get(page.resolve().as_uri() + hash_)


def one(driver: Any, css: str) -> Any:
    return driver.find_element("css selector", css)


def texts(driver: Any, css: str) -> list[str]:
    return [found.text for found in driver.find_elements("css selector", css)]


def errors(driver: Any) -> list[str]:
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_all_views_load_without_an_error_fit_and_can_be_read(driver, width, dark) -> None:
    for view in VIEWS:
        show(driver, view, width=width, dark=dark)
        assert len(one(driver, "main").text) > 100, view
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width, view
        assert driver.execute_script(CONTRAST) == [], view
        assert driver.execute_script(NAMELESS) == 0, view
    assert errors(driver) == []


def test_three_choices_say_who_is_best_and_how_sure(driver) -> None:
    """MNIST from a street number, seven eighths of the rows incomplete, in the tuned tier."""
    show(driver)
    for name in ("what-1", "ratio-2", "tier-1"):
        one(driver, f"#{name}").click()
    said = one(driver, "#answer").text
    assert "street → mnist" in said and "87.5 % incomplete" in said and "tuned" in said
    assert "MM-VAMP is best, 0.938; not distinguished from MEME." in said
    driver.back()
    assert "tier default" in one(driver, "#answer").text


def test_a_data_set_of_papers_alone_ranks_nothing(driver) -> None:
    show(driver, "#data=papers/mnist_svhn&score=Cross-coherence (agreement)&missing=split&ratio=0.5")
    assert "nothing is ranked" in one(driver, "#answer").text
    assert "Joy et al. 2022" in one(driver, "table.values").text


def test_the_table_sorts_and_models_are_switched_off(driver) -> None:
    show(driver)
    first = texts(driver, "#results tbody th")
    assert first[:2] == ["MM-VAMP", "MMVAE[k=3]"]
    one(driver, "#sort-name").click()
    names = texts(driver, "#results tbody:first-of-type th")
    assert names == sorted(names, key=str.lower) and len(names) == 6
    assert one(driver, "#results th[aria-sort=ascending]").text.startswith("model")
    said = one(driver, "#answer").text
    one(driver, "[id='on-mmvm']").click()
    assert "MM-VAMP" not in texts(driver, "#results tbody th")
    assert driver.execute_script("return view.chart.data.datasets.map((d) => d.label).includes('mmvm')") is False
    assert one(driver, "#answer").text == said  # judgements are over all models


def test_values_show_under_the_pointer_and_by_keyboard_alone(driver) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    show(driver)
    canvas = one(driver, "#chart")
    x, y = driver.execute_script("""const c = view.chart, i = c.data.datasets.findIndex((d) => d.label === "mmvm");
        const p = c.getDatasetMeta(i).data[1]; return [p.x - c.width / 2, p.y - c.height / 2]""")
    ActionChains(driver).move_to_element_with_offset(canvas, round(x), round(y)).perform()
    assert "MM-VAMP: 0.887 ± 0.014 at 50 % incomplete" in one(driver, "#readout").text
    assert "tooltip" in driver.execute_script("return view.chart.tooltip.opacity > 0 ? 'tooltip' : ''")
    show(driver)
    for _ in range(40):  # from the top of the page, with Tab alone
        if driver.switch_to.active_element.get_attribute("id") == "chart":
            break
        ActionChains(driver).send_keys(Keys.TAB).perform()
    heard = []
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT):
        ActionChains(driver).send_keys(key).perform()
        heard.append(one(driver, "#readout").text)
    assert heard[0].startswith("MEME[k=3]: 0.733 ± 0.046 at 50 % incomplete; 95 % interval 0.687 to 0.779, 5 seeds")
    assert heard[1].startswith("MVAE: 0.553") and heard[2].startswith("MVAE: 0.541 ± 0.177 at complete data")
    assert errors(driver) == []


def test_where_there_is_one_ratio_each_model_stands_over_its_name(driver) -> None:
    """MEME and MM-VAMP have no such score, and leave no gap that shifts the others."""
    show(driver, PRIORS)
    found = driver.execute_script("""const { x } = view.chart.scales; return view.chart.data.datasets.map((d, i) =>
        [d.label, x.options.ticks.callback(Math.round(x.getValueForPixel(view.chart.getDatasetMeta(i).data[0].x)))])""")
    assert [label for label, _ in found] == ["mvae", "mmvae[k=1]", "mopoe", "unimodal"]
    assert [name for _, name in found] == ["MVAE", "MMVAE[k=1]", "MoPoE-VAE", "unimodal VAEs"]


def test_a_name_that_is_an_attack_is_shown_as_text(driver, factory, tmp_path) -> None:
    store = Store(tmp_path)
    store.check_writable()
    runs = [factory.spec(m, label=evil(m), seed=s) for m in ("mvae", "mmvae") for s in range(3)]
    for run in runs:
        factory.publish(store, run, [{**row, "subset": evil("subset")} for row in factory.scores(run)])
    store.write_plan("toy", factory.make_plan(runs, name="toy", title="A toy"))
    page = tmp_path / "page.html"
    sources = [Source(evil("source"), source.selection) for source in read_folder(tmp_path)]
    page.write_text(render(board_data(sources)), encoding="utf-8")
    show(driver, page=page)
    driver.execute_script("window.alert = () => { window.attacked = true; }")
    driver.get(page.as_uri() + "#view=model")
    assert re.search(r"</script>", one(driver, "main").text)
    assert len(driver.find_elements("css selector", "img, svg")) == 0
    assert driver.execute_script("return window.attacked === undefined") is True
    assert errors(driver) == []
