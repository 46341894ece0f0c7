// One PE, weights held. `load` latches the weight that arrives from above; it travels along the row, so that a column is
// loaded one edge after its left neighbour. With two registers weights arrive in `chain` while `active` is in use; the first
// activation of a fold multiplies by `chain` and moves it to `active`.
module pe_ws
  import words::*;
#(parameter REGISTERS = 1) (
    input  logic clk,
    input  logic rst,
    input  logic load_in,
    output logic load_out,
    input  logic signed [15:0] weight_in,
    output logic signed [15:0] weight_out,
    input  row_word act_in,
    output row_word act_out,
    input  sum_word psum_in,
    output sum_word psum_out
);
  logic signed [15:0] chain, active, weight, act;
  logic signed [31:0] product, psum;
  logic swap;

  assign swap = act_in.valid && act_in.first;
  assign weight = (REGISTERS == 1 || swap) ? chain : active;
  assign act = act_in.data;
  assign product = weight * act;
  assign psum = psum_in.data;
  assign weight_out = chain;

  always_ff @(posedge clk) begin
    if (load_in) chain <= weight_in;
    if (swap) active <= chain;
    act_out <= rst ? '0 : act_in;
    load_out <= rst ? 1'b0 : load_in;
    psum_out.valid <= rst ? 1'b0 : psum_in.valid;
    psum_out.final_one <= psum_in.final_one;
    psum_out.data <= act_in.valid ? psum + product : psum;
  end
endmodule
