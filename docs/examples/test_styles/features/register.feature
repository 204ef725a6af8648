Feature: Registration

  Scenario: The first user
    When ada@example.com registers
    Then there are 1 users

  Scenario: Another first user
    When bob@example.com registers
    Then there are 1 users
