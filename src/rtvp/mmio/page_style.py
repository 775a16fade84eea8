"""The style sheet of the report page: light and dark, as the reader's system asks for."""

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1f2328; --quiet: #59636e; --rule: #d1d9e0;
  --stripe: #f6f8fa; --mark: #ddf4ff; --link: #0969da; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #161b22; --ink: #e6edf3; --quiet: #9198a1; --rule: #3d444d; --stripe: #1c2128;
    --mark: #14304f; --link: #79c0ff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0.5rem 0 0.25rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 0.75rem;
  padding-bottom: 0.3rem; border-bottom: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 2rem 0 0.25rem; }
p { margin: 0.4rem 0; max-width: 48rem; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, [tabindex]:focus-visible {
  outline: 2px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -999rem; }
.skip:focus { position: static; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; list-style: none;
  margin: 1rem 0 0; padding: 0; }
figcaption, caption { color: var(--quiet); }
dl.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 0.75rem;
  margin: 1.5rem 0; }
.tiles div { display: flex; flex-direction: column-reverse; justify-content: flex-end;
  padding: 0.7rem 0.9rem; background: var(--stripe);
  border: 1px solid var(--rule); border-radius: 0.5rem; }
.tiles dd { margin: 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.tiles dt { color: var(--quiet); font-size: 0.9rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.92rem; }
caption { text-align: left; padding: 0 0 0.5rem; font-size: 0.92rem; }
th, td { padding: 0.3rem 0.8rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--rule); }
thead th { color: var(--quiet); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; min-width: 8rem; }
tbody tr:nth-child(even) { background: var(--stripe); }
tbody tr.mark { background: var(--mark); font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1rem 0; }
figure img { display: block; max-width: 100%; height: auto; }
figure.wide img { min-width: 44rem; }
figcaption { font-size: 0.92rem; margin-top: 0.4rem; max-width: 48rem; }
.sheet img { border-radius: 0.4rem; }
details { font-size: 0.9rem; margin: 0.4rem 0; }
summary { cursor: pointer; color: var(--quiet); }
li { overflow-wrap: anywhere; }
"""
