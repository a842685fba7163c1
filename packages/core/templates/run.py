"""Runs a training step that Graft compiled, with nothing but ONNX Runtime and NumPy: pip install onnxruntime numpy safetensors

  python run.py [STEPS]

step.onnx holds forward pass, loss, backward pass and optimiser. Each run takes the state vectors and a batch, and returns the loss
and the next state. state.safetensors and batches.safetensors hold what the first steps are fed; for more data, make feeds of your
own with the names and shapes that step.json lists: "scalars" are AdamW's numbers of step t at learning rate r,
[r·weight_decay, r / (1 − β₁ᵗ), 1 / √(1 − β₂ᵗ)], and "inverse_count" is 1 / the number of supervised rows in the batch.
"""
import json
import os
import sys

import onnxruntime as ort
from safetensors.numpy import load_file, save_file

here = os.path.dirname(os.path.abspath(__file__))
path = lambda name: os.path.join(here, name)
about = json.load(open(path("step.json")))

options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # the graph is optimised already, for memory
options.enable_mem_pattern = False
options.add_session_config_entry("session.disable_prepacking", "1")  # weights stay in their file
provider = {"cuda": "CUDAExecutionProvider", "webgpu": "WebGpuExecutionProvider"}.get(about["device"])
providers = [p for p in (provider, "CPUExecutionProvider") if p in ort.get_available_providers()]
session = ort.InferenceSession(path("step.onnx"), options, providers=providers)

state = load_file(path("state.safetensors"))
batches = load_file(path("batches.safetensors"))
for step in range(1, int(sys.argv[1]) + 1 if len(sys.argv) > 1 else about["batches"] + 1):
    number = (step - 1) % about["batches"] + 1
    feeds = {name.split("/", 1)[1]: value for name, value in batches.items() if name.startswith(f"{number}/")}
    outputs = dict(zip((o["name"] for o in about["outputs"]), session.run(None, {**state, **feeds})))
    state = {s["input"]: outputs[s["output"]] for s in about["state"]}
    print(f"step {step}: loss {float(outputs['loss']):.6f}, gradient norm {float(outputs['gradient_norm']):.4f}")

save_file({"parameters": state["parameters"]}, path("trained.safetensors"))
