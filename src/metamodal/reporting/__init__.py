"""Pages and tables for people: reports of training and evaluation, and of audits.

| file | writes |
|---|---|
| `report` | the page of a run and its evaluations, from `report.html` |
| `audit_page` | the page of an audit, from `audit.html` |
| `text`, `full_text`, `audit_text` | the same as plain text |
| `class_views`, `classless_views`, `loss_views` | what the templates show, as plain values |
| `pictures` | cells and curves as HTML |
"""
