"""The record: every run that measured something, its raw samples and what they were taken on.

place        where the file is
schema       its tables, their version, and the way from each version to the next
store        open, add, read: safe against killed processes and other writers
entries      a run and a row as data
clean_text   what every text is made into before it is kept
project      commit and dirty flag of the project under test
json_lines   export and import
"""
