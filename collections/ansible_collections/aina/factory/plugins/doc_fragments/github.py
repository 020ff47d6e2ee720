# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the section github. Written by script/generate."""

from __future__ import annotations


class ModuleDocFragment:
    """What a module may be told of the section github."""

    DOCUMENTATION = r"""
options:
  github:
    description: Where GitHub is and how to log in there, for all capabilities.
    type: dict
    default: {}
    suboptions:
      api_url:
        description: >-
          Where the REST interface answers; of an Enterprise server https://HOST/api/v3, and with data residency
          https://api.NAME.ghe.com.
        type: str
        default: https://api.github.com
      git_url:
        description: Where git finds the repositories; derived from C(api_url) when empty.
        type: str
        default: ""
      release_api_url:
        description: Where the releases of the runner application are listed; C(api_url) when empty.
        type: str
        default: ""
      ca_file:
        description: A file with certificate authorities that are trusted beside the system's.
        type: str
        default: ""
      login:
        description: >-
          How every capability logs in that has no login of its own. Keys that are left out keep their defaults.
        type: dict
        default: {}
        suboptions:
          method:
            description: >-
              From the client C(gh) of whoever runs the capability, from a file, or as a GitHub App;
              C(registration_token) is a file that only registers native runners.
            type: str
            choices: [gh, token_file, github_app, registration_token]
            default: gh
          token_file:
            description: The file that holds the token, for C(token_file) and C(registration_token).
            type: str
            default: ""
          app_id:
            description: The GitHub App's number, for C(github_app).
            type: int
            default: 0
          app_key_file:
            description: The file that holds the GitHub App's private key, for C(github_app).
            type: str
            default: ""
      logins:
        description: Logins of capabilities that have fewer or other rights.
        type: dict
        default: {}
"""
