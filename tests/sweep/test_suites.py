import pytest

from mmvae_bench import datasets, models
from mmvae_bench.errors import BenchError
from mmvae_bench.options import parse_named
from mmvae_bench.sweep.request import Request
from mmvae_bench.sweep.suites import list_suites, load_suite
from tests.helpers import NAMES


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write


def test_every_suite_of_the_package_loads_and_names_what_there_is():
    assert {"quick", "meme_mnist_svhn"} <= set(list_suites())
    for name, title in list_suites().items():
        request = load_suite(name)
        assert request.name == name
        assert request.title == title != ""
        for text in request.models:
            assert text == "all" or models.registry.check(parse_named(text).name)
        for text in request.datasets:
            assert datasets.registry.check(parse_named(text).name)


def test_the_quick_suite_is_small_and_needs_no_download():
    quick = load_suite("quick")
    assert sorted(parse_named(text).name for text in quick.models) == NAMES
    assert quick.datasets == ("mnist_street",)
    assert quick.missing == (0.0, 0.5)
    assert quick.seeds == (0, 1, 2)


def test_memes_tables_are_13_patterns_and_5_seeds():
    meme = load_suite("meme_mnist_svhn")
    assert len(meme.models) == 6
    assert len(meme.holes) == 1 + 4 * 3
    assert meme.seeds == (0, 1, 2, 3, 4)


def test_a_path_is_a_suite_named_by_its_stem_with_a_paper_s_own_settings(write):
    text = 'title = "T"\nmodels = ["mvae", "mmvae[k=3]"]\nmissing = [0, 0.5]\nseed_list = [3, 1]\nbatch_size = 8\n'
    text += 'learning_rate = 1\noptimiser = "amsgrad"\nincomplete = ["keep", "drop"]\n'
    request = load_suite(write(text + "scales = {mnist = 0.75}\nweights = {mnist = 4}"))
    assert request == Request(
        name="mine", title="T", models=("mvae", "mmvae[k=3]"), missing=(0.0, 0.5), seeds=(3, 1), batch_size=8,
        learning_rate=1, optimiser="amsgrad", incomplete=("keep", "drop"), scales={"mnist": 0.75}, weights={"mnist": 4},
    )  # fmt: skip
    assert [hole.text for hole in request.holes] == ["complete", "split 0.5", "split 0.5 (incomplete rows dropped)"]


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "own.toml").write_text('title = "Größe → é"', encoding="utf-8-sig")
    assert load_suite(str(tmp_path / "own.toml")).title == "Größe → é"


def test_an_empty_file_is_the_defaults(write):
    assert load_suite(write("")) == Request(name="mine")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model = 'mvae'", "Unknown key 'model'; did you mean models"),
        ("zzz = 1", "Unknown key 'zzz'; Known: models, datasets"),
        ("models = 3", "'models' is text or a list of texts, not 3"),
        ("models = []", "No models are asked for"),
        ("seeds = true", "'seeds' is a whole number, not True"),
        ("seed_list = 3", "'seed_list' is a list of whole numbers, not 3"),
        ("epochs = 2.5", "'epochs' is a whole number"),
        ("missing = ['a']", "'missing' is a number or a list of numbers"),
        ("incomplete = ['keep', 'x']", "'keep' or 'drop', not 'x'"),
        ("incomplete = []", "No incomplete are asked for"),
        ("learning_rate = 0", "--learning-rate is a positive number, not 0"),
        ("learning_rate = [0.1]", "'learning_rate' is a number, not"),
        ("scales = 0.5", "'scales' is a table of modalities and numbers, not 0.5"),
        ("scales = {mnist = 'x'}", "'scales' is a table of modalities and numbers"),
        ("weights = {mnist = -1}", "a positive number, not -1 for 'mnist'"),
        ("title = [[", "is not valid TOML"),
        ("[models]\nmvae = 1", "'models' is text or a list"),
    ],
)
def test_a_bad_file_is_one_sentence_that_names_it(write, text, sentence):
    with pytest.raises(BenchError, match=sentence) as raised:
        load_suite(write(text))
    assert "mine.toml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_text_is_said_to_be_none(tmp_path):
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(BenchError, match="it is not UTF-8 text"):
        load_suite(str(tmp_path / "bytes.toml"))
