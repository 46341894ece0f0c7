// One PE, outputs held.
//   OUTPUTS 0, in place:     the result is the accumulator, at the edge that latches its last product;
//   OUTPUTS 1, accumulators: it waits there; `send` lets it go, and it moves down one accumulator an edge;
//   OUTPUTS 2, register:     the adder writes it into `out` as well, where it waits and moves; the accumulator is free at once.
// `send` travels along the row. A result on its way never stops: what comes from above is passed on at the next edge.
module pe_os
  import words::*;
#(parameter OUTPUTS = 0, TOP = 0) (
    input  logic clk,
    input  logic rst,
    input  row_word a_in,
    output row_word a_out,
    input  column_word b_in,
    output column_word b_out,
    input  logic send_in,
    output logic send_out,
    input  sum_word above,
    output sum_word below,
    output logic finished,  // in place: the accumulator is a result
    output logic finished_final  // and the last one of its fold
);
  logic signed [15:0] a, b;
  logic signed [31:0] product, sum, accumulator, out;
  logic mac, ends, waiting, moving, final_one;

  assign a = a_in.data;
  assign b = b_in.data;
  assign product = a * b;
  assign sum = a_in.first ? product : accumulator + product;
  assign mac = a_in.valid && b_in.valid;
  assign ends = mac && a_in.last;

  always_ff @(posedge clk) begin
    a_out <= rst ? '0 : a_in;
    b_out <= rst ? '0 : b_in;
    send_out <= rst ? 1'b0 : send_in;
  end

  if (OUTPUTS == 0) begin : in_place
    assign below = '0;
    always_ff @(posedge clk) begin
      if (mac) accumulator <= sum;
      finished <= rst ? 1'b0 : ends;
      finished_final <= rst ? 1'b0 : ends && a_in.bottom && b_in.right;
    end
  end else begin : shifted
    assign {finished, finished_final} = '0;
    assign below = {moving || (waiting && send_in), final_one, OUTPUTS == 1 ? accumulator : out};
    always_ff @(posedge clk) begin
      if (rst) {waiting, moving} <= '0;
      else begin
        waiting <= ends || (waiting && !send_in);
        moving <= above.valid;
      end
      if (ends) final_one <= TOP && b_in.right;  // the result of row 0 is the last to leave its column
      else if (above.valid) final_one <= above.final_one;
      if (OUTPUTS == 1) begin
        if (mac) accumulator <= sum;
        else if (above.valid) accumulator <= above.data;
      end else begin
        if (mac) accumulator <= sum;
        if (ends) out <= sum;
        else if (above.valid) out <= above.data;
      end
    end

    // Nothing below is hardware: a result overwritten, or two in one register, is a fault of the controller.
    logic written;
    assign written = OUTPUTS == 1 ? mac : ends;
    always @(posedge clk)
      if (!rst && ((written && above.valid) || ((written || above.valid) && waiting && !send_in)))
        $display("collision %m");
  end
endmodule
