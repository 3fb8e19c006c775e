"""How the report of a stress test looks, by day and by night."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5d6878; --paper: #f6f7f9;
  --card: #fff; --edge: #e2e6ec; --a: #2563eb; --b: #d97706; --c: #0d9488; --d: #9333ea;
  --e: #dc2626; --f: #64748b; --over: #dc262612; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf0; --soft: #98a3b3; --paper: #12161c;
  --card: #1a2029; --edge: #2c3542; --a: #60a5fa; --b: #fbbf24; --c: #2dd4bf; --d: #c084fc;
  --e: #f87171; --f: #94a3b8; --over: #f8717118; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 15px; font-weight: 600; color: var(--soft); margin: 0 0 28px; }
h2 { font-size: 17px; margin: 0; }
p { margin: 4px 0 16px; color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--edge); border-radius: 14px;
  padding: 24px; margin: 0 0 20px; min-width: 0; }
.verdict { border-left: 6px solid var(--e); }
.verdict.none { border-left-color: var(--c); }
.verdict strong { display: block; font-size: 30px; line-height: 1.2; letter-spacing: -.02em; }
.verdict p { margin: 8px 0 0; font-size: 17px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 20px;
  margin: 0 0 20px; }
.tiles .card { margin: 0; padding: 18px 22px; }
.tiles b { display: block; font-size: 30px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tiles small { color: var(--soft); font-size: 14px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 20px; }
svg { width: 100%; height: auto; display: block; }
.label { fill: var(--soft); font-size: 12.5px; } .value { fill: var(--ink); font-size: 14px; }
.grid { stroke: var(--edge); } .over { fill: var(--over); }
.limit { stroke: var(--e); stroke-dasharray: 5 4; } .line { fill: none; stroke-width: 2.5; }
.a { --tone: var(--a); } .b { --tone: var(--b); } .c { --tone: var(--c); }
.d { --tone: var(--d); } .e { --tone: var(--e); } .f { --tone: var(--f); }
path.line { stroke: var(--tone); } circle, .bar { fill: var(--tone); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 8px 0 0;
  padding: 0; font-size: 13.5px; color: var(--soft); }
.legend li::before { content: ""; display: inline-block; width: 10px; height: 10px;
  border-radius: 3px; background: var(--tone); margin-right: 7px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px;
  font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 500; } th, td { text-align: right; padding: 7px 8px;
  border-bottom: 1px solid var(--edge); white-space: nowrap; }
th:last-child, td:last-child { text-align: left; }
.bad td:last-child, .missed { color: var(--e); }
footer { color: var(--soft); font-size: 13.5px; }
code { font-size: .92em; }
"""
