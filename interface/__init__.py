"""The page: what it is told (Python, here) and what draws it (JavaScript and CSS, in assets/ui).

page.py         the parts in order: build_app(attributor) -> gr.Blocks
explain.py, inspection.py, why.py, takeaway.py, talk.py    one view each: what it is given, and what it may ask
handlers.py     plain functions of an Attributor behind every event
endpoints.py    the public API
requests.py     ONE checker of what anybody may ask
present.py      what the page is told, as JSON
report.py       reports, by the template report.html
serving.py      the server's settings; guard.py, uploads.py, decoder.py, pictures.py: what comes in and what is served
gradio_gaps.py  what is replaced in gradio, and what each waits for
"""
