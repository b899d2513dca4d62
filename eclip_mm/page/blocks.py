"""The page itself, and its server. Needs Gradio (extra ``app``)."""

from pathlib import Path

from eclip_mm.page.audit_tab import add_audit_tab
from eclip_mm.page.catalogue_search import CatalogueSearch
from eclip_mm.page.parts import gr
from eclip_mm.page.point_tab import add_point_tab
from eclip_mm.page.search_tab import add_search_tab

#: largest photo in megabytes
MAX_FILE = 20
#: visits whose photos are in memory; the oldest has to begin again
MAX_VISITS = 200
CSS = """
.gradio-container {max-width: 1280px !important}
:focus-visible {outline: 3px solid #e67800 !important; outline-offset: 2px}
[role=status] {min-height: 1.5em; margin: 0}
[role=status].bad {color: #b3261e; font-weight: 600}
#results .grid-wrap {max-height: none; overflow: visible}
#results .caption-label {left: 0; right: 0; bottom: 0; max-width: none; max-height: none;
  border-radius: 0; font-size: 13px; line-height: 1.3; white-space: normal; text-align: left}
#chosen img {width: 100%; height: 100%; object-fit: contain}
@media (max-width: 640px) {
  #results .grid-container {grid-template-columns: repeat(2, minmax(0, 1fr)) !important}
}
"""


def build_blocks(
    search: CatalogueSearch, judged: Path, num_hits: int = 12, report: str | None = None
) -> gr.Blocks:
    """The page.

    Args:
        search: what it does.
        judged: file that wrong results are saved to.
        num_hits: number of results.
        report: HTML of an audit, which gets a tab; None for no such tab.
    """
    manifest = search.index.manifest
    with gr.Blocks(
        title='Catalogue search', analytics_enabled=False, delete_cache=(3600, 3600)
    ) as blocks:
        with gr.Tab('Search'):
            add_search_tab(search, judged, num_hits)
        with gr.Tab('Point'):
            add_point_tab(search)
        if report is not None:
            with gr.Tab('Audit'):
                add_audit_tab(report)
        gr.Markdown(
            f'{len(search.index)} vectors of {manifest["per"]}s ({manifest["feature"]}) · weights '
            f'{manifest["checkpoint_sha256"][:12]} · wrong results go to `{judged}`'
        )
    return blocks


def launch(blocks: gr.Blocks, host: str, port: int | None, wait: bool = True) -> str:
    """Serve the page, which asks nothing of other hosts; returns its address.

    Args:
        port: None for any that is free.
        wait: return only when the server ends.

    Raises:
        OSError: the port is taken.
    """
    try:
        return _launch(blocks, host, port, wait)
    except OSError as error:
        raise OSError(f'port {port} of {host} cannot be used; give another --port') from error


def _launch(blocks: gr.Blocks, host: str, port: int | None, wait: bool) -> str:
    fonts = ['system-ui', 'sans-serif']
    _, address, _ = blocks.launch(
        server_name=host,
        server_port=port,
        quiet=True,
        prevent_thread_lock=True,
        theme=gr.themes.Default(font=fonts, font_mono=['monospace']),
        css=CSS,
        max_file_size=f'{MAX_FILE}mb',
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        state_session_capacity=MAX_VISITS,
        ssr_mode=False,
        share=False,
        pwa=False,
    )
    if wait:
        print(f'The page is at {address} (Ctrl-C ends it)', flush=True)
        blocks.block_thread()
    return address
