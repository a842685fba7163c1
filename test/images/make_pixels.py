"""Writes pixels.json: what transformers' image processors (Pillow's backend) make of small images.

python make_pixels.py    (transformers 5.24, Pillow)
"""
import base64
import io
import json
import pathlib
import tempfile

import numpy as np
from PIL import Image
from transformers import AutoImageProcessor

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(0)


def picture(width, height):
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 3 + c) * np.cos(y / (2 + c)) for c in range(3)], -1)
    noise = rng.integers(-60, 60, (height, width, 3))
    return Image.fromarray(np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8))


def encoded(image, kind):
    out = io.BytesIO()
    image.save(out, kind)
    return base64.b64encode(out.getvalue()).decode()


IMAGES = {"wide": picture(23, 13), "tall": picture(9, 21), "small": picture(5, 5)}
FILES = {name: {"png": encoded(image, "PNG")} for name, image in IMAGES.items()}
FILES["wide"]["bmp"] = encoded(IMAGES["wide"], "BMP")
SQUARE = {"height": 8, "width": 8}
VIT = {"image_processor_type": "ViTImageProcessor"}
CONFIGS = {
    **{f"resample {n}": {**VIT, "size": SQUARE, "resample": n} for n in range(6)},
    "not normalised": {**VIT, "size": SQUARE, "do_normalize": False},
    "not rescaled": {**VIT, "size": SQUARE, "do_rescale": False, "image_mean": [120, 110, 100], "image_std": [60, 50, 40]},
    "another factor": {**VIT, "size": SQUARE, "rescale_factor": 0.01, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]},
    "shorter edge and crop": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 10}, "crop_size": SQUARE},
    "sizes as numbers": {"image_processor_type": "CLIPImageProcessor", "size": 11, "crop_size": 8},
    "crop larger than the image": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 5}, "crop_size": SQUARE},
    "crop alone": {"image_processor_type": "CLIPImageProcessor", "do_resize": False, "crop_size": SQUARE},
    "older name": {"feature_extractor_type": "ViTFeatureExtractor", "size": 8, "resample": 3},
}


def main():
    cases = {}
    for name, config in CONFIGS.items():
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "preprocessor_config.json").write_text(json.dumps(config))
            pathlib.Path(folder, "config.json").write_text(json.dumps({"model_type": "vit"}))
            processor = AutoImageProcessor.from_pretrained(folder)
            pixels = {
                image: [round(float(v), 6) for v in np.ravel(processor(picture)["pixel_values"][0])]
                for image, picture in IMAGES.items()
            }
        cases[name] = {"config": config, "pixels": pixels}
    out = json.dumps({"files": FILES, "cases": cases}, separators=(",", ":"))
    (HERE / "pixels.json").write_text(out.replace('},"', '},\n"') + "\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
