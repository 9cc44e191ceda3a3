"""LLaVA configurations by name, as numbers with their sources; workloads and models from them.

`find.geometry` finds one by name or folder, `samples.sample` says how many tokens a picture or a
video becomes, `workloads.attention_workloads` lists the attention calls, `building` makes the
transformers configuration and a model with random weights, `inputs.make_inputs` its inputs.
"""
