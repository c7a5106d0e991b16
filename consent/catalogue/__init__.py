"""What can be shared: items, fields and purposes from the official lists, as data (`data/`), never as code.

The sources are the annexes of 国办发〔2021〕52号 and 国办发〔2024〕15号 and clause 4.1 of the Ningbo standard for bank-tax cooperation.
Official names stand verbatim with a corrected label beside them; whatever is doubtful in a source has a note that says what was
decided.
"""
