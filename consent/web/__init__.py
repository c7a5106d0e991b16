"""The pages for people, problem details for programs, and who is at the browser.

Owns sessions, sign-in, forged-request protection, security headers and the words on every page: Chinese first, English second.
It decides nothing about data: pages show what the domain says and hand on what a person chose.
"""
